// Follows a TUF repository with tuf-js and says what it came to trust.
//
//   node tuf_js_client.mjs refresh|download METADATA_URL TARGETS_URL STATE_DIR ROOT_FILE
//                          [--target NAME --out DIR]
//
// The same command line and the same answers as python_tuf_client.py. The folder with
// tuf-js in its node_modules is named by BULLA_PEERS_NODE; NODE_EXTRA_CA_CERTS names the
// authority of an https server (Node reads it when it starts).

import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

const ROLES = ['root', 'timestamp', 'snapshot', 'targets'];

/** Run the client once and report what it trusts afterwards. */
async function follow(Updater, options) {
  mkdirSync(options.stateDir, { recursive: true });
  const storedRoot = join(options.stateDir, 'root.json');
  if (!existsSync(storedRoot)) copyFileSync(options.rootFile, storedRoot);
  if (options.out) mkdirSync(options.out, { recursive: true });
  const updater = new Updater({
    metadataDir: options.stateDir,
    metadataBaseUrl: options.metadataUrl,
    targetDir: options.out,
    targetBaseUrl: options.targetsUrl,
    config: { userAgent: 'bulla-peer', fetchRetries: 0 },
  });
  await updater.refresh();
  const report = Object.fromEntries(ROLES.map((role) => [role, trustedVersion(options.stateDir, role)]));
  if (options.command === 'download') report.target = await download(updater, options.target);
  return report;
}

/** Find the target through the delegations, fetch it, and hash the file that was written. */
async function download(updater, name) {
  const info = await updater.getTargetInfo(name);
  if (!info) throw Object.assign(new Error(`no role lists the target ${name}`), { name: 'TargetNotFound' });
  const path = (await updater.findCachedTarget(info)) ?? (await updater.downloadTarget(info));
  const data = readFileSync(path);
  return { path, length: data.length, sha256: createHash('sha256').update(data).digest('hex') };
}

/** The version in the client's own store, which holds nothing that it did not verify. */
function trustedVersion(stateDir, role) {
  return JSON.parse(readFileSync(join(stateDir, `${role}.json`), 'utf8')).signed.version;
}

function parseArguments() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { target: { type: 'string' }, out: { type: 'string' } },
  });
  const [command, metadataUrl, targetsUrl, stateDir, rootFile] = positionals;
  if (positionals.length !== 5 || !['refresh', 'download'].includes(command)) usage('five arguments are needed');
  if (command === 'download' && !(values.target && values.out)) usage('download needs --target and --out');
  return { command, metadataUrl, targetsUrl, stateDir, rootFile, ...values };
}

function usage(text) {
  console.error(`${text}\nusage: refresh|download METADATA_URL TARGETS_URL STATE_DIR ROOT_FILE [--target NAME --out DIR]`);
  process.exit(2);
}

const options = parseArguments();
const peers = process.env.BULLA_PEERS_NODE ?? usage('BULLA_PEERS_NODE must name the folder that holds node_modules');
const { Updater } = createRequire(resolve(peers, 'package.json'))('tuf-js');
try {
  console.log(JSON.stringify(await follow(Updater, options)));
} catch (refusal) {
  console.log(JSON.stringify({ refused: refusal.name ?? 'Error', text: String(refusal.message ?? refusal) }));
  process.exitCode = 1;
}
