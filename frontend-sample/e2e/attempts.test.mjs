/** “How it works” and “Two tabs” tell the truth, also after a login that failed beside a session. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { answerProvider } from './support/browser.mjs';
import { alert, cause, heading, open, press, signIn } from './support/sample.mjs';

const failed = 'The last attempt, which failed';
/** What the page says of its own sign-in, and of the attempt that failed. */
const told = async (page) => {
  const [own, attempt = ''] = (await page.locator('#hops').innerText()).split(failed);
  return { own, attempt, tab: await page.locator('#tabs p').first().innerText() };
};

const attempts = {
  denied: [(page) => answerProvider(page, { deny: '1' }), /error = access_denied[^]*request \S{8}/],
  'key-used': [null, /POST \/api\/get_token[^]*400 invalid_grant/],
};
for (const [id, [answer, expected]] of Object.entries(attempts)) {
  test(`${id}: the sign-in that worked stays what it was, also after a reload and until the next one works`, async (t) => {
    const { page } = await open(t);
    await signIn(page);
    const before = await told(page);
    assert.match(before.own, /200 with the token[^]*200 with the profile/);
    await cause(page, id);
    await answer?.(page);
    await alert(page);
    const after = await told(page);
    assert.equal(after.own.trim(), before.own.trim());
    assert.match(after.attempt, expected);
    assert.match(after.tab, /kept the session it had; the last attempt to sign in failed/);
    assert.doesNotMatch(after.attempt, /code for tokens[^]*error = /);

    await page.reload();
    await page.getByText('kept its session over a reload').waitFor();
    const later = await told(page);
    assert.deepEqual([later.own, later.attempt], [after.own, after.attempt]);

    await press(page, 'Sign out');
    await heading(page, 'You are signed out');
    await signIn(page);
    const last = await told(page);
    assert.equal(last.attempt, '');
    assert.match(last.own, /200 with the profile/);
    assert.equal(last.tab, 'This tab redeemed the one-time key itself.');
  });
}

test('a login that was left at the provider is no attempt that failed', async (t) => {
  const { page } = await open(t);
  await signIn(page);
  await cause(page, 'denied');
  await page.waitForURL(/\/authorize/);
  await page.goBack();
  await heading(page, 'Hello, Alice Example');
  await page.reload();
  await heading(page, 'Hello, Alice Example');
  const { own, attempt } = await told(page);
  assert.equal(attempt, '');
  assert.match(own, /200 with the profile/);
});

test('each detail stands beneath its own arrow, between the two who speak', async (t) => {
  const { page } = await open(t, { viewport: { width: 1200, height: 800 } });
  await signIn(page);
  const lanes = await page.locator('.lanes b').evaluateAll((all) => all.map((each) => {
    const { left, width } = each.getBoundingClientRect();
    return left + width / 2;
  }));
  const hops = await page.locator('.hops > li').evaluateAll((all) => all.map((hop) => {
    const { left, right } = hop.querySelector('.detail').getBoundingClientRect();
    return { parties: hop.className.split('-'), left, right };
  }));
  assert.equal(hops.length, 8);
  for (const { parties, left, right } of hops) {
    const ends = parties.map((party) => lanes[['app', 'broker', 'provider'].indexOf(party)]).sort((a, b) => a - b);
    assert.ok(left >= ends[0] && right <= ends[1], `${parties}: ${left} to ${right}, between ${ends}`);
  }
});
