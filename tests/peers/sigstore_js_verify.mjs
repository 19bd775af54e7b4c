// Says whether sigstore-js takes a bundle for signed with a key: no certificates, no log, no timestamps.
//
//   node sigstore_js_verify.mjs PUBLIC_KEY.pem BUNDLE.json
//   node sigstore_js_verify.mjs --version
//
// The key is found by the bundle's hint, as cosign derives it. Subjects are not looked at. The folder with the
// packages in its node_modules is named by BULLA_PEERS_NODE.
//
// Exit code 0: accepted. 1: refused, for the reason on the standard error. Anything else is a fault of this script.

import { createHash, createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

const peers = process.env.BULLA_PEERS_NODE ?? usage('BULLA_PEERS_NODE must name the folder that holds node_modules');
const require = createRequire(resolve(peers, 'package.json'));

/** A world in which nobody but the holder of this key is trusted. */
function trustOnly(key) {
  const { toTrustMaterial } = require('@sigstore/verify');
  const { TrustedRoot } = require('@sigstore/protobuf-specs');
  const nobody = TrustedRoot.fromJSON({
    mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
    tlogs: [],
    certificateAuthorities: [],
    ctlogs: [],
    timestampAuthorities: [],
  });
  const hint = createHash('sha256').update(key).digest('base64');
  return toTrustMaterial(nobody, { [hint]: { rawBytes: key } });
}

function verify(key, bundle) {
  const { Verifier, toSignedEntity } = require('@sigstore/verify');
  const { bundleFromJSON } = require('@sigstore/bundle');
  const thresholds = { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 };
  new Verifier(trustOnly(key), thresholds).verify(toSignedEntity(bundleFromJSON(bundle)));
}

function usage(text) {
  console.error(`${text}\nusage: PUBLIC_KEY.pem BUNDLE.json | --version`);
  process.exit(2);
}

const [first, second] = process.argv.slice(2);
if (first === '--version') {
  const { version } = JSON.parse(readFileSync(resolve(peers, 'node_modules/@sigstore/verify/package.json'), 'utf8'));
  console.log(version);
} else {
  if (!second) usage('two files are needed');
  const key = createPublicKey(readFileSync(first)).export({ type: 'spki', format: 'der' });
  const bundle = JSON.parse(readFileSync(second, 'utf8'));
  require('@sigstore/verify');
  try {
    verify(key, bundle);
  } catch (refusal) {
    console.error(`${refusal.name}: ${refusal.code ?? ''} ${refusal.message}`);
    process.exitCode = 1;
  }
}
