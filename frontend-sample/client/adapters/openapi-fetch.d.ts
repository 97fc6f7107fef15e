export function openapiWith<Paths extends {}>(broker: import("../token-broker.js").BrokerClient, options?: import("openapi-fetch").ClientOptions): import("openapi-fetch").Client<Paths>;
