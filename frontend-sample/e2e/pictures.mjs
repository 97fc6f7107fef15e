/** Takes the pictures of the README: `npm run pictures [-- FOLDER]`; by default into `docs/pictures`. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { answerProvider, openSample, startBoth } from './support/browser.mjs';

const folder = process.argv[2] ?? fileURLToPath(new URL('../../docs/pictures', import.meta.url));
mkdirSync(folder, { recursive: true });
const [broker, browser] = await startBoth();
const phone = 'Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0';

/** A tab that is signed in as Alice. */
async function signedIn(options) {
  const context = await browser.newContext(options);
  const page = await openSample(context, broker);
  await page.getByRole('button', { name: /^Sign in as Alice/ }).click();
  await answerProvider(page);
  await page.getByRole('heading', { name: 'Hello, Alice Example' }).waitFor();
  return page;
}

try {
  await signedIn({ userAgent: phone }); // so that the list of sessions has two
  for (const colorScheme of ['light', 'dark']) {
    const page = await signedIn({ colorScheme, reducedMotion: 'reduce', viewport: { width: 1200, height: 872 } });
    await page.getByRole('button', { name: 'Public' }).click();
    await page.getByText('"ok"').waitFor();
    await page.evaluate(() => { document.activeElement.blur(); scrollTo(0, 0); });
    await page.mouse.move(0, 0);
    await page.screenshot({ path: join(folder, `signed-in-${colorScheme}.png`) });
    await page.context().close();
  }
} finally {
  await browser.close();
  await broker.end();
}
