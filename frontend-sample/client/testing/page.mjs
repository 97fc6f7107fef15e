/** What a page is to the client: address, history, storages and channels. Installed as globals for one test. */

/** A `Storage` that can be told to refuse. */
export class FakeStorage {
  items = new Map();
  getItem(key) { return this.items.get(key) ?? null; }
  setItem(key, value) {
    this.items.set(key, String(value));
    this[key] = String(value);
  }
  removeItem(key) {
    this.items.delete(key);
    delete this[key];
  }
}

/** Channels of one browser. Messages arrive later, as in the real one, and never at their sender. */
export class FakeChannel {
  static open = new Set();
  static sent = [];
  onmessage = null;
  constructor(name) {
    this.name = name;
    FakeChannel.open.add(this);
  }
  postMessage(data) {
    if (!FakeChannel.open.has(this)) throw new DOMException('closed', 'InvalidStateError');
    FakeChannel.sent.push(data);
    for (const other of FakeChannel.open) {
      if (other === this || other.name !== this.name) continue;
      queueMicrotask(() => FakeChannel.open.has(other) && other.onmessage?.({ data: structuredClone(data) }));
    }
  }
  close() { FakeChannel.open.delete(this); }
}

/**
 * Opens `href` for the length of test `t`. Returns what the test may look at: the address, every address that
 * was put into the history, and the timers that are running.
 */
export function openPage(t, href) {
  const page = {
    href,
    replaced: [],
    timers: new Map(),
    session: new FakeStorage(),
    local: new FakeStorage(),
  };
  const { setTimeout: set, clearTimeout: clear } = globalThis;
  const globals = {
    location: {
      get href() { return page.href; },
      get origin() { return new URL(page.href).origin; },
      assign() { throw new Error('tests navigate through the seam'); },
    },
    history: {
      state: { router: 'state' },
      replaceState(state, _, url) {
        page.href = new URL(url, page.href).href;
        page.replaced.push({ state, href: page.href });
      },
    },
    sessionStorage: page.session,
    localStorage: page.local,
    BroadcastChannel: FakeChannel,
    setTimeout(fn, delay, ...rest) {
      const id = set(() => { page.timers.delete(id); fn(...rest); }, delay);
      page.timers.set(id, delay);
      return id;
    },
    clearTimeout(id) {
      page.timers.delete(id);
      clear(id);
    },
  };
  const before = Object.keys(globals).map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]);
  for (const [name, value] of Object.entries(globals)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
  FakeChannel.sent.length = 0;
  t.after(() => {
    for (const id of page.timers.keys()) clear(id);
    FakeChannel.open.clear();
    for (const [name, descriptor] of before) {
      if (descriptor) Object.defineProperty(globalThis, name, descriptor);
      else delete globalThis[name];
    }
  });
  return page;
}
