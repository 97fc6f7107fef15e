export function axiosWith(broker: import("../token-broker.js").BrokerClient, defaults?: import("axios").CreateAxiosDefaults): import("axios").AxiosInstance;
