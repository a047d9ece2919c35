// The TypeScript SDK's v2 client. A guise is a revision: those of the session era it offers alone, the newest it negotiates.

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

import { drive, observed, textOf } from './common.mjs';

const MODERN = '2026-07-28';

drive(async (url, guise, tell) => {
  const era =
    guise === MODERN
      ? { versionNegotiation: { mode: 'auto' }, listChanged: { tools: { onChanged: () => tell({ event: 'changed' }) } } }
      : { supportedProtocolVersions: [guise] };
  const client = new Client({ name: 'v2', version: '2.0.0' }, { capabilities: { elicitation: {}, sampling: {} }, ...era });
  client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: { name: 'Ada' } }));
  client.setRequestHandler('sampling/createMessage', () => ({ role: 'assistant', model: 'm', content: { type: 'text', text: '42' } }));
  if (guise !== MODERN) client.setNotificationHandler('notifications/tools/list_changed', () => tell({ event: 'changed' }));
  client.onerror = (error) => tell({ event: 'error', message: String(error) });
  const transport = new StreamableHTTPClientTransport(new URL(url), { fetch: observed(tell) });
  await client.connect(transport);
  return {
    revision: client.getNegotiatedProtocolVersion(),
    session: transport.sessionId,
    tools: async () => (await client.listTools()).tools.map((tool) => tool.name),
    call: async (name, given, timeout, onprogress) => textOf(await client.callTool({ name, arguments: given }, { timeout, onprogress })),
    async end() {
      await transport.terminateSession();
      await client.close();
    },
  };
});
