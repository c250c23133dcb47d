// Preloaded into a Node server with `node --require`: whatever address the server asks to listen on,
// it gets 127.0.0.1 and a port that the kernel chooses, which is written to the file PORT_FILE names.
"use strict";

const dns = require("node:dns");
const fs = require("node:fs");
const net = require("node:net");

// An address is looked up before it is listened on, and some servers ask for their port at once. A literal one needs no
// looking up, so its answer need not wait.
const lookup = dns.lookup;
dns.lookup = (host, ...rest) => {
  if (!net.isIPv4(host)) return lookup(host, ...rest);
  const done = rest.pop();
  return rest[0]?.all ? done(null, [{ address: host, family: 4 }]) : done(null, host, 4);
};

const listen = net.Server.prototype.listen;

net.Server.prototype.listen = function (...args) {
  this.once("listening", () => {
    const address = this.address();
    const file = process.env.PORT_FILE;
    if (file && address && typeof address === "object") {
      // Written aside and moved, so that a reader never sees half a number.
      fs.writeFileSync(`${file}.new`, `${address.port}\n`);
      fs.renameSync(`${file}.new`, file);
    }
  });
  const done = args.find((arg) => typeof arg === "function");
  const where = { host: "127.0.0.1", port: 0 };
  return done ? listen.call(this, where, done) : listen.call(this, where);
};
