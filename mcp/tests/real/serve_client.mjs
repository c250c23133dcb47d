// A client of the TypeScript SDK against the gateway: node serve_client.mjs SDK URL TOOL DEAD_TOOL
// SDK is the directory of the package @modelcontextprotocol/sdk; TOKEN in the environment the bearer token, if there is one.
import { pathToFileURL } from "node:url";
import path from "node:path";

const [sdk, url, tool, dead] = process.argv.slice(2);
const load = (file) => import(pathToFileURL(path.join(sdk, "dist/esm", file)).href);
const { Client } = await load("client/index.js");
const { StreamableHTTPClientTransport } = await load("client/streamableHttp.js");

const client = new Client({ name: "typescript", version: "1" });
const headers = process.env.TOKEN ? { Authorization: `Bearer ${process.env.TOKEN}` } : {};
const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } });
await client.connect(transport);
console.log("tools", (await client.listTools()).tools.length);
console.log("called", (await client.callTool({ name: tool, arguments: { message: "ahoy" } })).content[0].text);
try {
    console.log("dead", (await client.callTool({ name: dead, arguments: {} })).content[0].text);
} catch (error) {
    console.log("dead", error.message);
}
await transport.terminateSession();
await client.close();
console.log("left");
