// Norvalt's form: finds the form that belongs to this script by its action, and sends it without leaving the page.
function norvaltForm(given) {
  "use strict";

  // Milliseconds. The server takes a form from 2 seconds to 24 hours after its token was made.
  const TOKEN_MIN_AGE = 2500;
  const TOKEN_MAX_AGE = 20 * 60 * 60 * 1000;
  const TOKEN_CHECK_INTERVAL = 10 * 60 * 1000;
  const SEND_TIMEOUT = 20 * 1000;

  const TEXTS = {
    nb: {
      sending: "Sender …",
      sent: "Takk! Vi har fått henvendelsen din og svarer så snart vi kan.",
      failed: "Henvendelsen ble ikke sendt. Prøv igjen om litt.",
      offline: "Du er ikke på nett, så henvendelsen ble ikke sendt. Prøv igjen når du er det.",
      flood: "Det har kommet for mange henvendelser herfra. Vent ti minutter og prøv igjen.",
      gotcha: "La dette feltet stå tomt",
    },
    en: {
      sending: "Sending …",
      sent: "Thank you! We have received your enquiry and will answer as soon as we can.",
      failed: "Your enquiry was not sent. Please try again in a moment.",
      offline: "You are offline, so your enquiry was not sent. Please try again when you are not.",
      flood: "Too many enquiries have come from here. Please wait ten minutes and try again.",
      gotcha: "Leave this field empty",
    },
  };

  // Of this page only. Norwegian law (ekomloven § 3-15) allows it to be stored in the browser only with consent.
  const IN_THE_ADDRESS = [
    "utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content", "utm_id",
    "gclid", "gbraid", "wbraid", "fbclid", "msclkid",
  ];

  const tag = document.currentScript;
  if (!tag) return;
  const endpoint = tag.src.replace(/\/form\.js(?:[?#].*)?$/, "");

  const find = (form, name) => form.querySelector(`[name="${name}"]`);

  function ownForms() {
    // An anchor makes an address absolute as the form does, and never throws.
    const anchor = document.createElement("a");
    return Array.from(document.forms).filter((form) => {
      anchor.href = form.getAttribute("action") || "";
      return anchor.href === endpoint;
    });
  }

  function input(type, name, value) {
    const made = document.createElement("input");
    made.type = type;
    made.name = name;
    made.value = value;
    return made;
  }

  // The first script on the page prepares a form; one that it loads later brings a new token and no more.
  function takeToken(form) {
    const known = find(form, "_t");
    const token = known || form.appendChild(input("hidden", "_t", ""));
    token.value = given.token;
    token.dataset.since = Date.now();
    return !known;
  }

  const tokenAge = (form) => Date.now() - find(form, "_t").dataset.since;

  function renewToken() {
    return new Promise((done) => {
      const again = document.createElement("script");
      again.src = tag.src;
      again.nonce = tag.nonce;
      again.onload = again.onerror = () => {
        again.remove();
        done();
      };
      document.head.append(again);
    });
  }

  // Off the screen, and hidden from screen readers. Set by properties: a content security policy may forbid the snippet's
  // style attribute, but not these.
  function hideGotcha(form, texts) {
    let gotcha = find(form, "_gotcha");
    if (!gotcha) {
      gotcha = input("text", "_gotcha", "");
      const label = document.createElement("label");
      label.append(texts.gotcha, gotcha);
      form.append(label);
    }
    gotcha.tabIndex = -1;
    gotcha.autocomplete = "off";
    for (const element of [gotcha, ...gotcha.labels]) {
      element.setAttribute("aria-hidden", "true");
      Object.assign(element.style, { position: "absolute", left: "-10000px" });
    }
  }

  function fillAttribution(form) {
    const query = new URLSearchParams(location.search);
    const said = IN_THE_ADDRESS.map((name) => [name, query.get(name)]);
    said.push(["referrer", document.referrer.split(/[?#]/)[0]], ["landing_page", location.origin + location.pathname]);
    for (const [name, value] of said) {
      if (value && !find(form, name)) form.append(input("hidden", name, value));
    }
  }

  // One of the fields marked so is enough. Without a script the first is required.
  function requireOneOf(fields) {
    if (!fields.length) return;
    const update = () => (fields[0].required = !fields.some((field) => field.value.trim()));
    fields.forEach((field) => field.addEventListener("input", update));
    // Its event comes before the fields are empty.
    fields[0].form.addEventListener("reset", () => setTimeout(update));
    update();
  }

  function addOutcome(form) {
    const [status, alert] = ["status", "alert"].map((role) => {
      const element = document.createElement("p");
      element.setAttribute("role", role);
      return form.appendChild(element);
    });
    return { status, alert };
  }

  function addCaptcha(form, language) {
    const box = document.createElement("div");
    const button = form.querySelector("[type=submit], button:not([type])");
    form.insertBefore(box, button && button.parentNode === form ? button : null);
    const script = document.createElement("script");
    script.src = "https://challenges.cloudflare.com/turnstile/v0/api.js?render=explicit";
    script.nonce = tag.nonce;
    let widget;
    script.onload = () => {
      widget = window.turnstile.render(box, { sitekey: given.captcha, action: "norvalt-form", language });
    };
    document.head.append(script);
    // A token of Turnstile's is valid for one request.
    return () => widget && window.turnstile.reset(widget);
  }

  function encode(form) {
    const data = new FormData(form);
    if (form.enctype === "multipart/form-data") return data;
    const texts = Array.from(data).filter(([, value]) => typeof value === "string");
    return new URLSearchParams(texts);
  }

  // The same key for the same words, so that the server recognizes a repeated attempt.
  function keyFor(attempt, body) {
    const words = Array.from(body).filter(([name]) => !/^_|^cf-turnstile-response$/.test(name));
    const said = JSON.stringify(words.map(([name, value]) => [name, value.name || value]));
    if (attempt.said !== said) {
      attempt.said = said;
      const random = crypto.getRandomValues(new Uint8Array(16));
      attempt.key = Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
    }
    return attempt.key;
  }

  async function readyToken(form) {
    if (tokenAge(form) > TOKEN_MAX_AGE) await renewToken();
    // A visitor who has had the page for longer than the token is no bot; another one may be.
    const wait = performance.now() > TOKEN_MIN_AGE ? TOKEN_MIN_AGE - tokenAge(form) : 0;
    if (wait > 0) await new Promise((done) => setTimeout(done, wait));
  }

  async function post(form, attempt) {
    const body = encode(form);
    const headers = { Accept: "application/json", "Idempotency-Key": keyFor(attempt, body) };
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), SEND_TIMEOUT);
    try {
      return await fetch(endpoint, { method: "POST", body, headers, credentials: "omit", signal: stop.signal });
    } finally {
      clearTimeout(timer);
    }
  }

  function prepare(form) {
    if (!takeToken(form)) return;
    const place = form.closest("[lang]");
    const language = place && /^en\b/i.test(place.lang) ? "en" : "nb";
    const texts = TEXTS[language];
    hideGotcha(form, texts);
    fillAttribution(form);
    requireOneOf(Array.from(form.querySelectorAll("[data-one-of]")));
    const resetCaptcha = given.captcha ? addCaptcha(form, language) : () => {};
    const outcome = addOutcome(form);
    const attempt = {};
    let sending = false;

    const show = (status, alert) => {
      outcome.status.textContent = status;
      outcome.alert.textContent = alert;
    };
    const setSending = (now) => {
      sending = now;
      form.querySelectorAll("[type=submit], button:not([type])").forEach((button) => (button.disabled = now));
    };

    async function send() {
      await readyToken(form);
      let answer;
      try {
        answer = await post(form, attempt);
      } catch (error) {
        if (error.name === "AbortError") return show("", texts.failed);
        if (navigator.onLine === false) return show("", texts.offline);
        // Most likely this origin is not on the dealership's list. A plain form may be sent from anywhere. A visitor who
        // comes back to the page finds it ready.
        setSending(false);
        return HTMLFormElement.prototype.submit.call(form);
      }
      resetCaptcha();
      if (!answer.ok) return show("", answer.status === 429 ? texts.flood : texts.failed);
      attempt.said = undefined;
      const next = find(form, "_next");
      HTMLFormElement.prototype.reset.call(form);
      show(texts.sent, "");
      if (next && /^https?:\/\//.test(next.value)) location.assign(next.value);
    }

    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (sending) return;
      setSending(true);
      show(texts.sending, "");
      send().catch(() => show("", texts.failed)).finally(() => setSending(false));
    });

    const keepFresh = () => {
      if (!document.hidden && tokenAge(form) > TOKEN_MAX_AGE) renewToken();
    };
    setInterval(keepFresh, TOKEN_CHECK_INTERVAL);
    document.addEventListener("visibilitychange", keepFresh);
  }

  const start = () => ownForms().forEach(prepare);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
}
