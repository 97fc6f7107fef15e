/** Small things that every view needs. */

/** @typedef {Node | string | null | undefined | false} Child */

/**
 * An element: `h('button', { class: 'quiet', onclick: leave }, 'Sign out')`. Strings only ever become text, so
 * nothing that a provider says about a person can become markup.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} [props] attributes; `on…` are listeners, `true` an empty attribute
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export const h = (tag, props = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  for (const child of children.flat()) if (child) element.append(child);
  return element;
};

/**
 * A card with its heading, which takes the focus when what had it is gone.
 * @param {string} id @param {string} title @param {...(Child | Child[])} children
 */
export const card = (id, title, ...children) =>
  h('section', { class: 'card', id, 'aria-labelledby': `${id}-title` },
    h('h2', { id: `${id}-title`, tabindex: '-1' }, title), ...children);

/**
 * Name and value pairs.
 * @param {[string, Child][]} rows
 */
export const facts = (rows) =>
  h('dl', { class: 'facts' }, rows.filter(([, value]) => value).map(([name, value]) =>
    h('div', {}, h('dt', {}, name), h('dd', {}, value))));

/**
 * A button that cannot be pressed again while its action runs.
 * @param {Child | Child[]} label @param {() => unknown} act @param {Record<string, any>} [props]
 */
export const button = (label, act, props = {}) => {
  const element = h('button', {
    type: 'button',
    ...props,
    onclick: async () => {
      if (element.getAttribute('aria-busy')) return;
      element.setAttribute('aria-busy', 'true');
      try {
        await act();
      } finally {
        element.removeAttribute('aria-busy');
      }
    },
  }, label);
  return element;
};

/** Says something in passing, to screen readers too. @param {string} text */
export const say = (text) => {
  const notice = /** @type {HTMLElement} */ (document.getElementById('notice'));
  notice.textContent = text;
  clearTimeout(Number(notice.dataset['timer']));
  notice.dataset['timer'] = String(setTimeout(() => { notice.textContent = ''; }, 6000));
};

/** A duration as people say it: `6 d 23 h`, `4 min 10 s`. @param {number} milliseconds */
export const lasting = (milliseconds) => {
  let seconds = Math.max(0, Math.round(milliseconds / 1000));
  const parts = [];
  for (const [unit, size] of /** @type {[string, number][]} */ ([['d', 86_400], ['h', 3600], ['min', 60], ['s', 1]])) {
    const count = Math.floor(seconds / size);
    seconds -= count * size;
    if (count || (unit === 's' && !parts.length)) parts.push(`${count} ${unit}`);
  }
  return parts.slice(0, 2).join(' ');
};

const clock = new Intl.DateTimeFormat('en', { dateStyle: 'medium', timeStyle: 'short' });
/** @param {string | number | null | undefined} time @returns {HTMLTimeElement | null} */
export const when = (time) => {
  if (time === null || time === undefined) return null;
  const date = new Date(time);
  return h('time', { datetime: date.toISOString() }, clock.format(date));
};

/** A credential as it may be shown. @param {string} secret */
export const masked = (secret) => {
  const [, prefix = ''] = /^(tb[a-z]_)/.exec(secret) ?? [];
  return `${prefix}••••••••${secret.length > 20 ? secret.slice(-4) : ''}`;
};
