// Node's ws as one side of a conversation with this library.
//
//     node peer.js server OPTIONS        prints "listening on PORT", and "closed CODE REASON" for each connection that ends
//     node peer.js client OPTIONS URL    plays all groups against URL, prints "ok NAME" or "FAILED NAME: WHY", last "done N"
//
// What the paths mean and what OPTIONS (JSON) holds is said in interop_test.go. NODE_PATH says where ws is installed.

'use strict';

const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
const WebSocket = require('ws');

const sizes = [0, 1, 125, 126, 127, 65535, 65536, 1 << 20];
const codes = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
const letters = Buffer.from('Grüße, 世界 👏\n');

// A text of exactly that many octets in UTF-8, with characters of one to four octets.
function text(octets) {
  const b = Buffer.alloc(octets, letters);
  let end = octets - (octets % letters.length);
  b.fill('.', end);
  return b;
}

function binary(octets) {
  return Buffer.alloc(octets, Buffer.from(Array.from({ length: 251 }, (_, i) => (i * 7) & 255)));
}

// Sends the message in five fragments, cut where the octets fall, inside characters too, with a Ping before each.
function sendFragments(ws, message, options) {
  const size = Math.floor(message.length / 5) + 1;
  for (let i = 0; ; i += size) {
    ws.ping();
    ws.send(message.subarray(i, i + size), { ...options, fin: i + size >= message.length });
    if (i + size >= message.length) return;
  }
}

function extensionOptions(deflate) {
  if (!deflate) return false;
  const takeover = !!deflate.takeover;
  return {
    serverNoContextTakeover: !takeover,
    clientNoContextTakeover: !takeover,
    serverMaxWindowBits: deflate.serverBits,
    clientMaxWindowBits: deflate.clientBits,
    threshold: 0,
  };
}

// Server

function serve(ws, request) {
  const url = new URL(request.url, 'ws://localhost');
  const query = url.searchParams;
  ws.on('error', () => {});
  ws.on('close', (code, reason) => console.log('closed', code, reason.toString()));
  ws.on('message', (message, isBinary) => {
    if (url.pathname === '/fragments') sendFragments(ws, message, { binary: isBinary });
    else ws.send(message, { binary: isBinary });
  });
  if (url.pathname === '/close') {
    ws.close(...(query.has('code') ? [Number(query.get('code')), query.get('reason')] : []));
  } else if (url.pathname === '/raw') {
    ws._socket.write(Buffer.concat([Buffer.from(query.get('octets'), 'hex'), Buffer.alloc(Number(query.get('padding')))]));
  } else if (url.pathname === '/ping') {
    ws.on('pong', (payload) => ws.send(payload.toString() === 'are you there?' ? 'pong' : `pong ${payload}`));
    ws.ping('are you there?');
  }
}

function server(options) {
  const wss = new WebSocket.Server(
    {
      host: '127.0.0.1',
      port: 0,
      perMessageDeflate: extensionOptions(options.deflate),
      handleProtocols: (offered) => ['chat.v2', 'chat.v1'].find((p) => offered.has(p)) || false,
      maxPayload: 1 << 25,
    },
    () => console.log('listening on', wss.address().port),
  );
  wss.on('connection', serve);
  process.stdin.on('end', () => process.exit()).resume();
}

// Client

class Client {
  constructor(url, options) {
    this.url = url;
    this.deflate = options.deflate;
    this.groups = options.groups;
    this.checks = 0;
  }

  connect(where = '/echo', subprotocols = []) {
    const ws = new WebSocket(this.url + where, subprotocols, {
      perMessageDeflate: extensionOptions(this.deflate),
      rejectUnauthorized: false,
      maxPayload: 1 << 25,
    });
    ws.on('error', () => {});
    ws.ended = new Promise((resolve) => ws.on('close', (code, reason) => resolve({ code, reason: reason.toString() })));
    const received = [];
    const waiting = [];
    ws.on('message', (message, isBinary) => {
      const put = waiting.shift();
      if (put) put({ message, isBinary });
      else received.push({ message, isBinary });
    });
    ws.next = () => received.shift() || new Promise((resolve) => waiting.push(resolve));
    return new Promise((resolve, reject) => {
      ws.on('open', () => resolve(ws));
      ws.on('error', reject);
    });
  }

  async check(name, conversation) {
    this.checks++;
    let timer;
    const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error('30 s have passed')), 30000)));
    let why;
    try {
      why = await Promise.race([conversation, late]);
    } catch (e) {
      why = e.message;
    }
    clearTimeout(timer);
    console.log(why ? `FAILED ${name}: ${why}` : `ok ${name}`);
  }

  async run() {
    for (const group of this.groups) await this[group]();
    console.log('done', this.checks);
    process.exit();
  }

  async echoes(ws, message, isBinary, send = (m, options) => ws.send(m, options)) {
    send(message, { binary: isBinary });
    const got = await Promise.race([ws.next(), ws.ended]);
    if (!got.message) return `closed with ${got.code} ${got.reason}`;
    if (got.isBinary !== isBinary || !got.message.equals(message)) return `got ${got.message.length} octets, sent ${message.length}`;
  }

  async echo() {
    const ws = await this.connect();
    for (const size of sizes) {
      await this.check(`echo/text of ${size}`, this.echoes(ws, text(size), false));
      await this.check(`echo/binary of ${size}`, this.echoes(ws, binary(size), true));
    }
    if (this.deflate) await this.compressed(ws);
    await this.check('echo/extensions', this.agreed(ws));
    ws.close();
    await ws.ended;
  }

  // Octets that repeat only from one message to the next show whether the server's compressor keeps its window.
  async compressed(ws) {
    await this.check('echo/random', this.echoes(ws, crypto.randomBytes(50000), true));
    for (let i = 0; i < 20; i++) {
      await this.check(`echo/JSON ${i}`, this.echoes(ws, Buffer.from(JSON.stringify({ id: i, text: letters.toString().repeat(i) })), false));
    }
    await this.check('echo/a small window is not exceeded', this.echoes(ws, this.farRepeats(), true));
    await this.check('echo/octets of a repetitive message', this.costs(ws, Buffer.alloc(65536, 'sixteen octets. '), (n) => n < 16384));
    if (this.deflate.serverBits < 12) return; // what a small window still holds of the message before is the sender's choice
    const noise = Buffer.from(crypto.randomBytes(150).toString('hex'));
    await this.check('echo/a message before its twin', this.echoes(ws, noise, true));
    const takenOver = (n) => (this.deflate.takeover ? n < 100 : n >= 150);
    await this.check('echo/octets of the twin', this.costs(ws, noise, takenOver));
  }

  // Noise that comes again after each distance from 2^8 to 2^15 octets: zlib's inflate, limited to the agreed bits, refuses a match from further back.
  farRepeats() {
    const noise = crypto.randomBytes(64);
    const parts = [noise];
    for (let bits = 8; bits <= 15; bits++) parts.push(crypto.randomBytes(2 ** bits - 64), noise);
    return Buffer.concat(parts);
  }

  async costs(ws, message, isRight) {
    const before = ws._socket.bytesRead;
    const why = await this.echoes(ws, message, true);
    const octets = ws._socket.bytesRead - before;
    return why || (isRight(octets) ? undefined : `${message.length} octets came as ${octets}`);
  }

  async agreed(ws) {
    if (!this.deflate) return ws.extensions ? `agreed ${ws.extensions}` : undefined;
    const params = ws._extensions['permessage-deflate']?.params;
    if (!params) return 'no extension agreed';
    const takeover = !!this.deflate.takeover;
    if (!!params.server_no_context_takeover === takeover) return `agreed ${JSON.stringify(params)}`;
    if ((params.server_max_window_bits || 15) > (this.deflate.serverBits || 15)) return `agreed ${JSON.stringify(params)}`;
  }

  async fragments() {
    const ws = await this.connect('/fragments');
    const send = (message, options) => sendFragments(ws, message, options);
    for (const size of sizes.slice(1)) {
      await this.check(`fragments/text of ${size}`, this.echoes(ws, text(size), false, send));
      await this.check(`fragments/binary of ${size}`, this.echoes(ws, binary(size), true, send));
    }
    ws.close();
    await ws.ended;
  }

  async ping() {
    const ws = await this.connect();
    for (const payload of ['', '1', 'x'.repeat(125)]) await this.check(`ping/of ${payload.length}`, this.pong(ws, payload));
    ws.close();
    await ws.ended;
  }

  pong(ws, payload) {
    const pong = new Promise((resolve) => ws.once('pong', (got) => resolve(got.toString() === payload ? undefined : `got ${got}`)));
    ws.ping(payload);
    return pong;
  }

  async pinged() {
    const ws = await this.connect('/ping');
    const heard = async () => {
      const { message, code } = await Promise.race([ws.next(), ws.ended]);
      return String(message) === 'pong' ? undefined : `got ${message || code}`;
    };
    await this.check('pinged/by the server', heard());
    ws.close();
    await ws.ended;
  }

  async close() {
    for (const code of codes) await this.check(`close/with ${code}`, this.closes(code, `Grund ${code} 👏`));
    await this.check('close/long reason', this.closes(1000, 'é'.repeat(61)));
    await this.check('close/empty', this.closes());
  }

  async closes(code, reason) {
    const ws = await this.connect();
    ws.send('the last message');
    ws.close(code, reason);
    return this.closedAs(await ws.ended, code || 1005);
  }

  closedAs(end, code, reason = end.reason) {
    if (end.code !== code || end.reason !== reason) return `closed with ${end.code} ${end.reason}, want ${code} ${reason}`;
  }

  async closed() {
    for (const code of codes) await this.check(`closed/with ${code}`, this.isClosed(code, `Grund ${code} 👏`));
    await this.check('closed/empty', this.isClosed(undefined, ''));
  }

  async isClosed(code, reason) {
    const ws = await this.connect('/close?' + (code ? new URLSearchParams({ code, reason }) : ''));
    return this.closedAs(await ws.ended, code || 1005, reason);
  }

  async raw() {
    const rows = JSON.parse(fs.readFileSync(path.join(__dirname, 'raw.json')));
    for (const row of rows) {
      if (!row.toServer || (this.deflate && row.plainOnly)) continue;
      await this.check(`raw/${row.name} (${row.section})`, this.sends(row));
    }
  }

  async sends(row) {
    const ws = await this.connect();
    ws._socket.write(Buffer.concat([Buffer.from(row.toServer, 'hex'), Buffer.alloc(row.padding || 0)]));
    return this.closedAs(await ws.ended, row.code);
  }

  async subprotocol() {
    await this.check("subprotocol/the server's order", this.speaks(['other', 'chat.v1', 'chat.v2'], 'chat.v2'));
  }

  async speaks(offered, want) {
    const ws = await this.connect('/echo', offered);
    ws.close();
    await ws.ended;
    return ws.protocol === want ? undefined : `speaks ${ws.protocol}`;
  }
}

const options = JSON.parse(process.argv[3]);
if (process.argv[2] === 'server') server(options);
else new Client(process.argv[4], options).run();
