// The TypeScript SDK's v2 client. A guise is a revision: those of the session era it offers alone, the newest it negotiates.

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

import { drive } from './common.mjs';

const MODERN = '2026-07-28';

drive(async (url, guise, peer) => {
  const changed = () => peer.tell({ event: 'changed' });
  const era =
    guise === MODERN
      ? { versionNegotiation: { mode: 'auto' }, listChanged: { tools: { onChanged: changed } } }
      : { supportedProtocolVersions: [guise] };
  const client = new Client({ name: 'v2', version: '2.0.0' }, { capabilities: { elicitation: {}, sampling: {} }, ...era });
  client.setRequestHandler('elicitation/create', () => peer.elicit());
  client.setRequestHandler('sampling/createMessage', () => peer.sample());
  if (guise !== MODERN) client.setNotificationHandler('notifications/tools/list_changed', changed);
  client.onerror = (error) => peer.tell({ event: 'error', message: String(error) });
  const transport = new StreamableHTTPClientTransport(new URL(url), { fetch: peer.fetch });
  await client.connect(transport);
  return {
    revision: client.getNegotiatedProtocolVersion(),
    session: transport.sessionId,
    tools: async () => (await client.listTools()).tools.map((tool) => tool.name),
    call: (params, options) => client.callTool(params, options),
    async end() {
      await transport.terminateSession();
      await client.close();
    },
  };
});
