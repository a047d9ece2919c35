// The TypeScript SDK's last v1 client, as its documentation uses it.

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { CreateMessageRequestSchema, ElicitRequestSchema, ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';

import { drive } from './common.mjs';

drive(async (url, guise, peer) => {
  const client = new Client({ name: 'v1', version: '1.0.0' }, { capabilities: { elicitation: {}, sampling: {} } });
  client.setRequestHandler(ElicitRequestSchema, () => peer.elicit());
  client.setRequestHandler(CreateMessageRequestSchema, () => peer.sample());
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => peer.tell({ event: 'changed' }));
  client.onerror = (error) => peer.tell({ event: 'error', message: String(error) });
  const transport = new StreamableHTTPClientTransport(new URL(url), { fetch: peer.fetch });
  await client.connect(transport);
  return {
    revision: transport.protocolVersion,
    session: transport.sessionId,
    tools: async () => (await client.listTools()).tools.map((tool) => tool.name),
    call: (params, options) => client.callTool(params, undefined, options),
    async end() {
      await transport.terminateSession();
      await client.close();
    },
  };
});
