/** Takes the pictures of the README: `npm run pictures [-- FOLDER]`; by default into `docs/pictures`. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { startBroker } from './support/broker.mjs';
import { answerProvider, openBrowser, openSample } from './support/browser.mjs';

const folder = process.argv[2] ?? fileURLToPath(new URL('../../docs/pictures', import.meta.url));
mkdirSync(folder, { recursive: true });
const [broker, browser] = await Promise.all([startBroker(), openBrowser()]);
try {
  for (const colorScheme of ['light', 'dark']) {
    const context = await browser.newContext({ colorScheme, reducedMotion: 'reduce', viewport: { width: 1200, height: 820 } });
    const page = await openSample(context, broker);
    const picture = (name) => page.screenshot({ path: join(folder, `${name}-${colorScheme}.png`) });
    await page.getByRole('heading', { name: 'Sign in', exact: true }).waitFor();
    await picture('signed-out');
    await page.getByRole('button', { name: 'Continue with Development provider', exact: true }).click();
    await answerProvider(page);
    await page.getByRole('button', { name: 'Who am I' }).click();
    await page.getByText('"username": "alice"').waitFor();
    await page.mouse.move(0, 0);
    await picture('signed-in');
    await page.locator('#hops').screenshot({ path: join(folder, `hops-${colorScheme}.png`) });
    await context.close();
  }
} finally {
  await browser.close();
  await broker.end();
}
