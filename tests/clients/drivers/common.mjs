// Reads commands from standard input and answers on standard output, one JSON object a line: what `driver.py` speaks.
// A client comes in as `connect(url, guise, peer)`, where `peer` reports what the client meets and gives what its user would say.

import { createInterface } from 'node:readline';

const write = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

/** What a client's callbacks speak to. */
class Peer {
  constructor(on, thinks) {
    this.on = on;
    this.answers = thinks ? new Promise((resolve) => (this.answer = resolve)) : Promise.resolve();
  }

  tell(event) {
    write({ ...event, on: this.on });
  }

  async elicit() {
    this.tell({ event: 'asked' });
    await this.answers;
    return { action: 'accept', content: { name: 'Ada' } };
  }

  sample() {
    return { role: 'assistant', model: 'm', content: { type: 'text', text: '42' } };
  }

  /** A fetch that reports each exchange whose answer has begun, so that the test knows when a stream is open. */
  fetch = async (url, init) => {
    const answer = await fetch(url, init);
    const position = new Headers(init?.headers).has('last-event-id');
    this.tell({ event: 'exchange', method: init?.method ?? 'GET', status: answer.status, position });
    return answer;
  };
}

const textOf = (result) => ({ text: result.content.map((part) => part.text ?? '').join(''), failed: result.isError === true });

export function drive(connect) {
  const connections = new Map();
  const peers = new Map();
  const calls = new Map();

  const actions = {
    async connect({ id, url, guise, thinks }) {
      peers.set(id, new Peer(id, thinks));
      const connection = await connect(url, guise, peers.get(id));
      connections.set(id, connection);
      return { revision: connection.revision, session: connection.session ?? null };
    },
    tools: ({ on }) => connections.get(on).tools(),
    async call({ id, on, tool, arguments: given, seconds }) {
      calls.set(id, new AbortController());
      const options = {
        timeout: seconds * 1000,
        signal: calls.get(id).signal,
        onprogress: (progress) => write({ event: 'progress', of: id, on, ...progress }),
      };
      return textOf(await connections.get(on).call({ name: tool, arguments: given }, options));
    },
    cancel: ({ call }) => calls.get(call).abort('enough') ?? null,
    answer: ({ on }) => peers.get(on).answer() ?? null,
    async end({ on }) {
      await connections.get(on).end();
      connections.delete(on);
      return null;
    },
  };

  const run = async (command) => {
    try {
      write({ id: command.id, value: await actions[command.do](command) });
    } catch (error) {
      const cause = error.cause ? ` (${error.cause.code ?? ''} ${error.cause.message ?? error.cause})` : '';
      write({ id: command.id, error: { code: error.code ?? null, message: `${command.do}: ${error.message ?? error}${cause}` } });
    }
  };

  createInterface({ input: process.stdin })
    .on('line', (line) => run(JSON.parse(line)))
    .on('close', () => process.exit(0));
}
