// Walk through pages in headless Chromium and tell what was seen. Standard input: one JSON object
// {chromium, base, session, visits: [{url, theme, width, script, checks, steps}]}; standard output: one JSON array.
// A step is {click | press | fill | wait | evaluate | reload | pause}; `evaluate` results are kept by their `as`.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const order = JSON.parse(readFileSync(0, "utf8"));
const browser = await chromium.launch({
  executablePath: order.chromium,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run"],
});

async function visit({ url, theme = "light", width = 1440, script = true, checks = false, motion = "no-preference", steps = [] }) {
  const isNarrow = width < 600;
  const context = await browser.newContext({
    viewport: { width, height: 900 },
    colorScheme: theme,
    javaScriptEnabled: script,
    reducedMotion: motion,
    isMobile: isNarrow,
    hasTouch: isNarrow,
  });
  await context.addCookies([{ name: "sessionid", value: order.session, url: order.base }]);
  const page = await context.newPage();
  page.setDefaultTimeout(15000);
  const seen = { url, theme, width, problems: [], values: {} };
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") seen.problems.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => seen.problems.push(`script: ${error.message}`));
  page.on("requestfailed", (request) => {
    if (request.failure()?.errorText !== "net::ERR_ABORTED") seen.problems.push(`not loaded: ${request.url()}`);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(order.base) && !request.url().startsWith("data:")) seen.problems.push(`foreign: ${request.url()}`);
  });
  if (script) {
    await page.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (event) =>
        console.error(`CSP ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`),
      );
    });
  }
  const answer = await page.goto(order.base + url, { waitUntil: "networkidle" });
  seen.status = answer.status();
  for (const step of steps) await take(page, step, seen);
  if (checks) await check(page, seen);
  await context.close();
  return seen;
}

async function take(page, step, seen) {
  if (step.click) await page.click(step.click);
  if (step.tap) await page.tap(step.tap);
  if (step.press) await page.keyboard.press(step.press);
  if (step.fill) await page.fill(step.fill, step.text);
  if (step.wait) await page.waitForSelector(step.wait);
  if (step.reload) await page.reload({ waitUntil: "networkidle" });
  if (step.drag) {
    const box = await page.locator(step.drag).first().boundingBox();
    await page.mouse.move(box.x + box.width * 0.3, box.y + box.height / 2);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.6, box.y + box.height / 2, { steps: 8 });
    await Promise.all([page.waitForNavigation(), page.mouse.up()]);
  }
  if (step.evaluate) seen.values[step.as] = await page.evaluate(step.evaluate);
}

async function check(page, seen) {
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (overflow > 0) seen.problems.push(`the page is ${overflow} px wider than the screen`);
  // axe writes style attributes of its own while it measures, so what the console says from here on is not the page's.
  page.removeAllListeners("console");
  await page.evaluate(axe);
  const found = await page.evaluate(() =>
    window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] }),
  );
  for (const violation of found.violations) {
    for (const node of violation.nodes.slice(0, 4)) {
      seen.problems.push(`${violation.id}: ${node.target.join(" ")}: ${node.failureSummary.split("\n")[1]?.trim()}`);
    }
  }
}

const results = [];
for (const one of order.visits) results.push(await visit(one));
await browser.close();
process.stdout.write(JSON.stringify(results));
