// The page of the API's document in a real browser: it is read, unfolded and tried out with a token.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { gunzipSync } from "node:zlib";
import { API, cargo, installed, run, startBrowser, startStack, stopStack, workspace } from "./stack.mjs";

const VIEWER = resolve(workspace, "functions/platform/api-docs/viewer");

/** A page that has been loaded, with what it asked for and what went wrong in it. */
async function open(browser) {
  const tab = await browser.newPage();
  const [asked, wrong] = [[], []];
  tab.on("request", (request) => asked.push(request.url()));
  tab.on("pageerror", (error) => wrong.push(String(error)));
  tab.on("console", (line) => line.type() === "error" && wrong.push(line.text()));
  await tab.goto(`${API}/docs`);
  await tab.waitForSelector(".opblock");
  return { tab, asked, wrong };
}

const tests = {
  async "the viewer is the npm package's of the version that it names"() {
    const file = installed.resolve("swagger-ui-dist/package.json");
    const { version } = JSON.parse(readFileSync(file));
    for (const name of ["README.md", "docs.html"]) {
      const versions = readFileSync(resolve(VIEWER, name), "utf8").match(/\d+\.\d+\.\d+/g);
      assert.deepEqual([...new Set(versions)], [version], name);
    }
    const theirs = (name) => readFileSync(resolve(dirname(file), name));
    for (const name of ["swagger-ui-bundle.js", "swagger-ui.css"]) {
      assert.ok(gunzipSync(readFileSync(resolve(VIEWER, `${name}.gz`))).equals(theirs(name)), name);
    }
    for (const name of ["LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt"]) {
      assert.ok(readFileSync(resolve(VIEWER, name)).equals(theirs(name)), name);
    }
  },

  async "every operation is there, and nobody else is asked for anything"({ browser }) {
    const { tab, asked, wrong } = await open(browser);
    const { paths } = await (await fetch(`${API}/openapi.json`)).json();
    const documented = Object.entries(paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const shown = await tab.$$eval(".opblock-summary", (rows) =>
      rows.map((row) => {
        const text = (part) => row.querySelector(part).textContent.replaceAll("\u200b", "");
        return `${text(".opblock-summary-method")} ${text(".opblock-summary-path")}`;
      }),
    );
    assert.deepEqual(shown.sort(), documented.sort());
    assert.ok(shown.length > 20, `${shown.length}`);
    assert.deepEqual(asked.filter((url) => !url.startsWith(`${API}/`) && !url.startsWith("data:")), []);
    assert.deepEqual(wrong, []);
    await tab.close();
  },

  async "an operation unfolds and answers whoever has a token"({ browser }) {
    const { tab, asked, wrong } = await open(browser);
    await tab.click(".authorize");
    await tab.fill(".auth-container input", cargo("token", "--org", "tesla-oslo"));
    await tab.click(".auth-btn-wrapper .authorize");
    await tab.click(".auth-btn-wrapper .btn-done");
    const operation = tab.locator(".opblock", { has: tab.locator('[data-path="/api/v1/leads"]') }).filter({ hasText: "GET" });
    await operation.locator(".opblock-summary-control").click();
    await operation.locator('[data-param-name="limit"] input').fill("2");
    const [answer] = await Promise.all([
      tab.waitForResponse((response) => response.url().startsWith(`${API}/api/v1/leads`)),
      operation.locator(".execute").click(),
    ]);
    assert.equal(new URL(answer.url()).searchParams.get("limit"), "2");
    const live = operation.locator(".live-responses-table");
    await live.locator(".response .response-col_status").waitFor();
    assert.match(await live.locator(".response .response-col_status").innerText(), /^200/);
    assert.equal(JSON.parse(await live.locator("pre.microlight").first().innerText()).items.length, 2);
    assert.deepEqual(asked.filter((url) => !url.startsWith(`${API}/`) && !url.startsWith("data:")), []);
    assert.deepEqual(wrong, []);
    await tab.close();
  },
};

let stack, browser;
try {
  stack = await startStack();
  browser = await startBrowser();
  await run(tests, { browser });
} finally {
  await browser?.close();
  await stopStack(stack);
}
