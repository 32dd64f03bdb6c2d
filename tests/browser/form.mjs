// The form in a real browser: the snippet of the running stack, on a page of another origin, filled in and sent.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { API, cargo, installed, run, startBrowser, startStack, stopStack } from "./stack.mjs";

const DEALERSHIP = "019a0000-0000-7000-8000-000000000001";
const FORM = `${API}/webhooks/form/${DEALERSHIP}`;
/** Longer than the server's shortest time for a person, in milliseconds. */
const A_PERSONS_TIME = 2600;
/** Of no widget: the provider is played by the test, for the network is not there. */
const SITE_KEY = "1x00000000000000000000AA";
const CAPTCHA = "https://challenges.cloudflare.com";
/** What makes the addresses of this run its own, for the stack keeps its database. */
const RUN = Date.now().toString(36);

const axe = installed.resolve("axe-core/axe.min.js");

const mail = (name) => `${name}-${RUN}@example.no`;

async function api(path, options = {}) {
  const token = cargo("token", "--org", "tesla-oslo");
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const answer = await fetch(API + path, { headers, ...options });
  assert.equal(answer.status, 200, `${path}: ${answer.status}`);
  return answer.json();
}

const patchForm = (form) => api("/api/v1/dealership", { method: "PATCH", body: JSON.stringify({ form }) });

const leadsOf = async (email) => (await api(`/api/v1/leads?q=${encodeURIComponent(email)}`)).items;

/** The forms on an origin of their own, which notes what it is asked: it hands a request to its function and the answer
 *  back, and adds nothing. */
async function startGateway() {
  const functions = { OPTIONS: "form-preflight", GET: "form-script", POST: "form-webhook" };
  const invoke = async (request, body) => {
    const path = new URL(request.url, "http://gateway").pathname;
    const http = { method: request.method, path, protocol: "HTTP/1.1", sourceIp: "127.0.0.1", userAgent: "" };
    const requestContext = { requestId: "browser", routeKey: "", stage: "$default", timeEpoch: Date.now(), http };
    const event = {
      version: "2.0", routeKey: "", rawPath: path, rawQueryString: "", headers: request.headers, requestContext,
      pathParameters: { dealership_id: DEALERSHIP }, body: body.toString("base64"), isBase64Encoded: true,
    };
    const url = `${API}/2015-03-31/functions/${functions[request.method]}/invocations`;
    return (await fetch(url, { method: "POST", body: JSON.stringify(event) })).json();
  };
  const asked = [];
  const server = createServer(async (request, response) => {
    const body = [];
    for await (const part of request) body.push(part);
    const answer = await invoke(request, Buffer.concat(body));
    asked.push(`${request.method} ${answer.statusCode}`);
    response.writeHead(answer.statusCode, answer.headers);
    response.end(answer.body ?? "");
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return { server, asked, origin: `http://127.0.0.1:${server.address().port}` };
}

/** A dealership's site: whatever page a test puts on it, under a policy that allows no inline code. */
async function startSite(gateway) {
  const pages = new Map();
  const forms = `${API} ${gateway.origin} ${CAPTCHA}`;
  const policy = `default-src 'none'; script-src ${forms}; connect-src ${forms}; form-action ${forms} 'self'; base-uri 'none'`;
  const server = createServer((request, response) => {
    const page = pages.get(new URL(request.url, "http://site").pathname);
    response.writeHead(page ? 200 : 404, { "content-type": "text/html; charset=utf-8", "content-security-policy": policy });
    response.end(page);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  // Other origins than the forms', the first of which may be on a list without https.
  const { port } = server.address();
  return { pages, server, origin: `http://localhost:${port}`, unlisted: `http://127.0.0.1:${port}` };
}

const page = (lang, html) =>
  `<!doctype html><html lang="${lang}"><head><title>Bilsalg</title></head><body><main><h1>Kontakt</h1>${html}</main></body></html>`;

const snippet = async (query) => (await api(`/api/v1/dealership/form-snippet?${query}`)).html;

/** What the visitor of a form sees at the end. */
async function outcome(tab, role) {
  await tab.waitForFunction((role) => document.querySelector(`form [role=${role}]`).textContent.length > 12, role);
  return tab.textContent(`form [role=${role}]`);
}

async function fillIn(tab, email) {
  await tab.fill("[name=name]", "Kari Anne Nordmann");
  await tab.fill("[name=email]", email);
  await tab.fill("[name=phone]", "");
  await tab.fill("[name=message]", "Er bilen ledig?\nHilsen Kåre");
  await tab.check("[name='consent[marketing]']");
  await tab.waitForTimeout(A_PERSONS_TIME);
}

const tests = {
  async "a visitor's enquiry becomes one lead, on the page they were on"({ browser, site }) {
    site.pages.set("/nb", page("nb", await snippet("lang=nb")));
    const tab = await browser.newPage();
    const errors = [];
    tab.on("pageerror", (error) => errors.push(String(error)));
    await tab.goto(`${site.origin}/nb?utm_source=google&gclid=abc&x=1`, { referer: "https://www.google.com/" });
    await fillIn(tab, mail("nb"));
    const sent = tab.waitForRequest((request) => request.method() === "POST");
    await tab.click("button");
    assert.match(await outcome(tab, "status"), /^Takk! Vi har fått henvendelsen din/);
    assert.equal(tab.url(), `${site.origin}/nb?utm_source=google&gclid=abc&x=1`);
    assert.match((await sent).headers()["idempotency-key"], /^[0-9a-f]{32}$/);
    assert.equal(await tab.inputValue("[name=email]"), "", "the form is empty again");
    assert.equal(await tab.isEnabled("button"), true);

    const leads = await leadsOf(mail("nb"));
    assert.equal(leads.length, 1);
    const [lead] = leads;
    assert.deepEqual([lead.first_name, lead.last_name, lead.source], ["Kari Anne", "Nordmann", "website"]);
    assert.equal(lead.message.replaceAll("\r", ""), "Er bilen ledig?\nHilsen Kåre");
    assert.equal(lead.attribution.utm_source, "google");
    assert.equal(lead.attribution.gclid, "abc");
    assert.equal(lead.attribution.landing_page, `${site.origin}/nb`);
    assert.deepEqual([lead.consent.marketing, lead.consent.text_version], [true, "nb-1"]);
    assert.deepEqual(errors, []);
    await tab.close();
  },

  async "the trap is there, out of sight and out of the way"({ browser, site }) {
    const tab = await browser.newPage();
    const own = `<form action="${FORM}" method="post" lang="en"><label>E <input name="email"></label><button>Go</button></form>`;
    site.pages.set("/own", page("en", `${own}<script src="${FORM}/form.js"></script>`));
    for (const path of ["/nb", "/own"]) {
      await tab.goto(site.origin + path);
      await tab.waitForSelector("[name=_t]", { state: "attached" });
      const trap = await tab.$eval("[name=_gotcha]", (trap) => ({
        right: trap.getBoundingClientRect().right,
        display: getComputedStyle(trap).display,
        hidden: trap.type === "hidden" || trap.hidden,
      }));
      assert.ok(trap.right < 0 && trap.display !== "none" && !trap.hidden, `${path}: ${JSON.stringify(trap)}`);
      const names = [];
      for (let presses = 0; presses < 12; presses++) {
        await tab.keyboard.press("Tab");
        names.push(await tab.evaluate(() => document.activeElement.name));
      }
      assert.ok(names.includes("email") && !names.includes("_gotcha"), `${path}: ${names}`);
      assert.doesNotMatch(await tab.locator("body").ariaSnapshot(), /stå tomt|field empty/);
    }
    await tab.close();
  },

  async "an e-mail address or a phone number is enough"({ browser, site }) {
    const tab = await browser.newPage();
    await tab.goto(`${site.origin}/nb`);
    await tab.waitForSelector("[name=_t]", { state: "attached" });
    const valid = () => tab.$eval("form", (form) => form.checkValidity());
    assert.equal(await valid(), false);
    await tab.fill("[name=phone]", "912 34 567");
    assert.equal(await valid(), true);
    await tab.fill("[name=phone]", "");
    assert.equal(await valid(), false);
    await tab.close();
  },

  async "a failure is told, and a repeated attempt is the same attempt"({ browser, site }) {
    site.pages.set("/en", page("en", await snippet("lang=en")));
    const tab = await browser.newPage();
    const keys = [];
    let failures = 2;
    await tab.route(FORM, (route) => {
      keys.push(route.request().headers()["idempotency-key"]);
      const fail = { status: failures === 2 ? 503 : 429, headers: { "access-control-allow-origin": "*" }, body: "{}" };
      return failures-- > 0 ? route.fulfill(fail) : route.continue();
    });
    await tab.goto(`${site.origin}/en`);
    await fillIn(tab, mail("en"));
    await tab.click("button");
    assert.match(await outcome(tab, "alert"), /^Your enquiry was not sent/);
    assert.equal(await tab.inputValue("[name=email]"), mail("en"), "nothing is lost");
    await tab.click("button");
    await tab.waitForFunction(() => /too many/i.test(document.querySelector("form [role=alert]").textContent));
    await tab.click("button");
    assert.match(await outcome(tab, "status"), /^Thank you!/);
    assert.equal(await tab.textContent("form [role=alert]"), "");
    assert.equal(new Set(keys).size, 1);
    await fillIn(tab, mail("en2"));
    await tab.click("button");
    await tab.waitForFunction(() => /^Thank/.test(document.querySelector("form [role=status]").textContent));
    assert.equal(new Set(keys).size, 2, "another enquiry is another attempt");
    assert.equal((await leadsOf(mail("en"))).length, 1);
    await tab.close();
  },

  async "an impatient visitor sends once"({ browser, site }) {
    const tab = await browser.newPage();
    let posts = 0;
    tab.on("request", (request) => (posts += request.method() === "POST"));
    await tab.goto(`${site.origin}/nb`);
    await fillIn(tab, mail("twice"));
    await tab.$eval("form", (form) => { form.requestSubmit(); form.requestSubmit(); });
    await outcome(tab, "status");
    await tab.waitForFunction(() => /^Takk/.test(document.querySelector("form [role=status]").textContent));
    assert.equal(posts, 1);
    await tab.close();
  },

  async "where the script may not send, the form sends itself"({ browser, site, gateway }) {
    site.pages.set("/aws", page("nb", (await snippet("lang=nb")).replaceAll(API, gateway.origin)));
    const tab = await browser.newPage();
    await tab.goto(`${site.origin}/aws`);
    await fillIn(tab, mail("listed"));
    await tab.click("button");
    assert.match(await outcome(tab, "status"), /^Takk!/);
    assert.deepEqual(gateway.asked.splice(0), ["GET 200", "OPTIONS 204", "POST 202"]);

    await tab.goto(`${site.unlisted}/aws`);
    await fillIn(tab, mail("unlisted"));
    await tab.click("button");
    await tab.waitForURL(`${gateway.origin}/**`);
    assert.equal(JSON.parse(await tab.textContent("body")).status, "received");
    assert.deepEqual(gateway.asked.splice(0), ["GET 200", "OPTIONS 204", "POST 202"]);
    for (const name of ["listed", "unlisted"]) assert.equal((await leadsOf(mail(name))).length, 1, name);
    await tab.close();
  },

  async "a page that was open for a day sends a new token"({ browser, site }) {
    const tab = await browser.newPage();
    await tab.clock.install();
    await tab.goto(`${site.origin}/nb`);
    await tab.waitForSelector("[name=_t]", { state: "attached" });
    const before = await tab.inputValue("[name=_t]");
    // The next second, or the token would be the same.
    await new Promise((done) => setTimeout(done, 1100));
    await tab.clock.fastForward("23:00:00");
    await tab.waitForFunction((before) => document.querySelector("[name=_t]").value !== before, before);
    assert.equal(await tab.locator("form [role=status]").count(), 1, "the form is prepared once");
    assert.equal(await tab.locator("[name=_gotcha]").count(), 1);
    await tab.close();
  },

  async "without JavaScript it is a form"({ browser, site }) {
    const next = `${site.origin}/takk`;
    site.pages.set("/takk", page("nb", "<p>Takk!</p>"));
    site.pages.set("/plain", page("nb", await snippet(`lang=nb&next=${encodeURIComponent(next)}`)));
    const context = await browser.newContext({ javaScriptEnabled: false });
    const tab = await context.newPage();
    await tab.goto(`${site.origin}/plain`);
    await tab.fill("[name=name]", "Ola Nordmann");
    await tab.fill("[name=email]", mail("nojs"));
    const [answer] = await Promise.all([
      tab.waitForResponse((response) => response.request().method() === "POST"),
      tab.click("button"),
    ]);
    assert.equal(answer.status(), 303);
    await tab.waitForURL(next);
    const leads = await leadsOf(mail("nojs"));
    assert.equal(leads.length, 1);
    assert.equal(leads[0].consent.marketing, undefined, "nobody agreed to anything");
    await context.close();
  },

  async "with JavaScript it goes on to the same page"({ browser, site }) {
    const tab = await browser.newPage();
    await tab.goto(`${site.origin}/plain`);
    await fillIn(tab, mail("next"));
    await tab.click("button");
    await tab.waitForURL(`${site.origin}/takk`);
    assert.equal((await leadsOf(mail("next"))).length, 1);
    await tab.close();
  },

  async "a captcha is asked for where the dealership requires it, and its token is sent once"({ browser, site }) {
    const provider = `window.turnstile = {
      render(box, options) {
        this.rendered = options;
        box.innerHTML = '<input type="hidden" name="cf-turnstile-response" value="token-1">';
        return "widget";
      },
      reset() { document.querySelector("[name=cf-turnstile-response]").value = "token-2"; },
    };`;
    const tab = await browser.newPage();
    let fetched = 0;
    await tab.route(`${CAPTCHA}/**`, (route) => {
      fetched += 1;
      return route.fulfill({ contentType: "text/javascript", body: provider });
    });
    await tab.goto(`${site.origin}/nb`);
    await tab.waitForSelector("[name=_t]", { state: "attached" });
    assert.equal(fetched, 0);
    await patchForm({ captcha_required: true });
    try {
      await tab.goto(`${site.origin}/nb`);
      await tab.waitForFunction(() => window.turnstile?.rendered);
      const rendered = { sitekey: SITE_KEY, action: "norvalt-form", language: "nb" };
      assert.deepEqual(await tab.evaluate(() => window.turnstile.rendered), rendered);
      await fillIn(tab, mail("captcha"));
      const sent = tab.waitForRequest((request) => request.method() === "POST");
      await tab.click("button");
      assert.equal(new URLSearchParams((await sent).postData()).get("cf-turnstile-response"), "token-1");
      assert.match(await outcome(tab, "status"), /^Takk!/);
      assert.equal(await tab.inputValue("[name=cf-turnstile-response]"), "token-2");
    } finally {
      await patchForm({ captcha_required: false });
    }
    await tab.close();
  },

  async "a program finds nothing inaccessible in it"({ browser, site }) {
    // axe is injected, so without the page's policy; the pages are the same.
    const context = await browser.newContext({ bypassCSP: true });
    const tab = await context.newPage();
    for (const path of ["/nb", "/en"]) {
      await tab.goto(site.origin + path);
      await tab.waitForSelector("[name=_t]", { state: "attached" });
      await tab.addScriptTag({ path: axe });
      for (const state of ["untouched", "sent"]) {
        if (state === "sent") {
          await fillIn(tab, mail(`axe-${path.slice(1)}`));
          await tab.click("button");
          await tab.waitForFunction(() => /^T(akk|hank)/.test(document.querySelector("form [role=status]").textContent));
        }
        const { violations, passes } = await tab.evaluate(() => window.axe.run());
        const told = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`);
        assert.deepEqual(told, [], `${path}, ${state}`);
        assert.ok(passes.some(({ id }) => id === "label"), "it looked at the labels");
      }
    }
    await context.close();
  },
};

let stack, gateway, site, browser, before;
try {
  stack = await startStack({ TURNSTILE_SITE_KEY: SITE_KEY });
  [gateway, before] = [await startGateway(), (await api("/api/v1/dealership")).form];
  site = await startSite(gateway);
  await patchForm({ origins: [site.origin], redirect_origins: [site.origin], address_cap: 100, hourly_cap: 100_000 });
  browser = await startBrowser();
  await run(tests, { browser, site, gateway });
} finally {
  await browser?.close();
  for (const { server } of [site, gateway].filter(Boolean)) {
    server.closeAllConnections();
    server.close();
  }
  const { origins, redirect_origins, address_cap, hourly_cap } = before ?? {};
  if (before) await patchForm({ origins, redirect_origins, address_cap, hourly_cap });
  await stopStack(stack);
}
