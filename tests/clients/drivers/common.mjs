// Reads commands from standard input and answers on standard output, one JSON object a line: what `driver.py` speaks.
// A client comes in as `connect(url, guise, tell)`; `tell(event)` reports what the client meets between commands.

import { createInterface } from 'node:readline';

const write = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

/** A fetch that reports each exchange whose answer has begun, so that the test knows when a stream is open. */
export const observed = (tell) => async (url, init) => {
  const answer = await fetch(url, init);
  const position = new Headers(init?.headers).has('last-event-id');
  tell({ event: 'exchange', method: init?.method ?? 'GET', status: answer.status, position });
  return answer;
};

export const textOf = (result) => ({ text: result.content.map((part) => part.text ?? '').join(''), failed: result.isError === true });

export function drive(connect) {
  const connections = new Map();

  const actions = {
    async connect({ id, url, guise }) {
      const connection = await connect(url, guise, (event) => write({ ...event, on: id }));
      connections.set(id, connection);
      return { revision: connection.revision, session: connection.session ?? null };
    },
    tools: ({ on }) => connections.get(on).tools(),
    call: ({ id, on, tool, arguments: given, seconds }) =>
      connections.get(on).call(tool, given, seconds * 1000, (progress) => write({ event: 'progress', of: id, on, ...progress })),
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
      write({ id: command.id, error: { code: error.code ?? null, message: String(error.message ?? error) } });
    }
  };

  createInterface({ input: process.stdin })
    .on('line', (line) => run(JSON.parse(line)))
    .on('close', () => process.exit(0));
}
