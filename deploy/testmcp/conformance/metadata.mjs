// Reads an authorization server's metadata as the clients of the TypeScript SDK do.
//
//     node metadata.mjs ISSUER
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [issuer] = process.argv.slice(2);
const packages = createRequire(process.cwd() + '/package.json');
const { discoverAuthorizationServerMetadata } = await import(
  pathToFileURL(packages.resolve('@modelcontextprotocol/sdk/client/auth.js')).href
);
const metadata = await discoverAuthorizationServerMetadata(issuer);
if (!metadata?.token_endpoint) throw new Error('there is no metadata');
console.log(metadata.issuer);
