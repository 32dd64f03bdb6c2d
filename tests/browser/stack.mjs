// The running stack and a real browser, for the tests beside this file.
// `.ci/run` installs the browser and what drives it, and says where by NODE_MODULES; `cargo dev` must not be running.
import { spawn, execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const PORT = 9471;
/** How long the stack may take to build and start, in milliseconds. */
const START_TIMEOUT = 15 * 60 * 1000;

export const API = `http://127.0.0.1:${PORT}`;
export const workspace = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
export const installed = createRequire(resolve(process.env.NODE_MODULES, "node_modules/.here"));

const { chromium: playwright } = installed("playwright-core");
const { default: binary } = await import(pathToFileURL(installed.resolve("@sparticuz/chromium")));

// The package's own arguments would switch off what keeps origins apart.
export const startBrowser = async () =>
  playwright.launch({ executablePath: await binary.executablePath(), args: ["--no-sandbox", "--no-zygote"] });

export const cargo = (...task) =>
  execFileSync("cargo", ["dev", ...task], { cwd: workspace, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();

export async function startStack(settings = {}) {
  const stack = spawn("cargo", ["dev", "--port", String(PORT)], {
    cwd: workspace,
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, ...settings },
  });
  let said = "";
  await new Promise((ready, failed) => {
    const late = setTimeout(() => failed(new Error(`the stack is not ready:\n${said}`)), START_TIMEOUT);
    stack.stderr.on("data", (text) => {
      said += text;
      if (said.includes("Ready after")) {
        clearTimeout(late);
        ready();
      }
    });
    stack.on("exit", (code) => failed(new Error(`the stack ended with ${code}:\n${said}`)));
  });
  return stack;
}

export async function stopStack(stack) {
  if (stack && stack.exitCode === null) {
    const ended = new Promise((done) => stack.on("exit", done));
    stack.kill("SIGINT");
    await ended;
  }
}

/** Runs every test, whatever becomes of those before it. */
export async function run(tests, context) {
  for (const [name, test] of Object.entries(tests)) {
    const started = Date.now();
    const failure = await test(context).catch((error) => error);
    console.log(`${failure ? "FAILED" : "ok"} ${((Date.now() - started) / 1000).toFixed(1)} s  ${name}`);
    if (failure) {
      console.log(failure);
      process.exitCode = 1;
    }
  }
}
