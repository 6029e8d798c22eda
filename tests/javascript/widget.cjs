// A visitor of a chat plugin, as the widget of the original is one: authenticates over HTTP, follows its queue with
// @stomp/stompjs, and writes. Prints one JSON document per line. Arguments: the server's address (http://host:port) and
// the id of a channel.
const { Client } = require("@stomp/stompjs");
const { WebSocket } = require("ws");

const [address, channel] = process.argv.slice(2);
const print = (document) => process.stdout.write(JSON.stringify({ from: "widget", ...document }) + "\n");

async function call(path, body, token) {
  const headers = { "content-type": "application/json", ...(token ? { authorization: `Bearer ${token}` } : {}) };
  const response = await fetch(`${address}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  return response.json();
}

async function visit() {
  const { token } = await call("/chatplugin.authenticate", { channel_id: channel });
  const client = new Client({
    webSocketFactory: () => new WebSocket(`${address.replace("http", "ws")}/ws.chatplugin`, ["v12.stomp", "v11.stomp"]),
    connectHeaders: { Authorization: `Bearer ${token}` },
    reconnectDelay: 5000,
    heartbeatIncoming: 4000,
    heartbeatOutgoing: 4000,
  });
  client.onStompError = (frame) => print({ error: frame.headers.message });
  client.onConnect = () => {
    client.watchForReceipt("subscribed", () =>
      call("/chatplugin.send", { message: { text: "Is the rye bread back?" } }, token),
    );
    client.subscribe("/user/queue/message", (frame) => print(JSON.parse(frame.body)), { receipt: "subscribed" });
  };
  client.activate();
  process.stdin.once("data", async () => {
    await client.deactivate();
    process.exit(0);
  });
}

visit();
