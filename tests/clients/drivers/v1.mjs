// The TypeScript SDK's last v1 client, as its documentation uses it.

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { CreateMessageRequestSchema, ElicitRequestSchema, ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';

import { drive, observed, textOf } from './common.mjs';

drive(async (url, guise, tell) => {
  const client = new Client({ name: 'v1', version: '1.0.0' }, { capabilities: { elicitation: {}, sampling: {} } });
  client.setRequestHandler(ElicitRequestSchema, () => ({ action: 'accept', content: { name: 'Ada' } }));
  client.setRequestHandler(CreateMessageRequestSchema, () => ({ role: 'assistant', model: 'm', content: { type: 'text', text: '42' } }));
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => tell({ event: 'changed' }));
  client.onerror = (error) => tell({ event: 'error', message: String(error) });
  const transport = new StreamableHTTPClientTransport(new URL(url), { fetch: observed(tell) });
  await client.connect(transport);
  return {
    revision: transport.protocolVersion,
    session: transport.sessionId,
    tools: async () => (await client.listTools()).tools.map((tool) => tool.name),
    call: async (name, given, timeout, onprogress) =>
      textOf(await client.callTool({ name, arguments: given }, undefined, { timeout, onprogress })),
    async end() {
      await transport.terminateSession();
      await client.close();
    },
  };
});
