// Follows the events of a server as a client of the original does, with @stomp/stompjs, and over the native websocket.
// Prints one JSON document per line. Arguments: the server's address (ws://host:port) and a token.
const { Client } = require("@stomp/stompjs");
const { WebSocket } = require("ws");

const [address, token] = process.argv.slice(2);
const print = (document) => process.stdout.write(JSON.stringify(document) + "\n");

function stomp(authorization) {
  const client = new Client({
    webSocketFactory: () => new WebSocket(`${address}/ws.communication`, ["v12.stomp", "v11.stomp", "v10.stomp"]),
    connectHeaders: { Authorization: authorization },
    reconnectDelay: 0,
    heartbeatIncoming: 10000,
    heartbeatOutgoing: 10000,
  });
  client.onStompError = (frame) => print({ from: "stomp", error: frame.headers.message });
  client.onWebSocketClose = (event) => print({ from: "stomp", closed: event.code });
  return client;
}

function follow() {
  const client = stomp(`Bearer ${token}`);
  client.onConnect = () => {
    print({ from: "stomp", connected: client.connectedVersion });
    client.watchForReceipt("subscribed", () => print({ from: "stomp", ready: true }));
    client.subscribe("/events", (message) => print({ from: "stomp", event: JSON.parse(message.body) }), {
      receipt: "subscribed",
    });
  };
  client.activate();

  const native = new WebSocket(`${address}/events?kind=message.created`, {
    headers: { authorization: `Bearer ${token}` },
  });
  native.on("message", (data) => {
    const event = JSON.parse(data.toString());
    print(event.type === "ready" ? { from: "native", ready: true } : { from: "native", event });
  });

  process.stdin.once("data", async () => {
    native.close();
    await client.deactivate(); // sends DISCONNECT and waits for its receipt
    process.exit(0);
  });
}

if (token === "wrong") {
  stomp("Bearer wrong").activate();
  process.stdin.once("data", () => process.exit(0));
} else {
  follow();
}
