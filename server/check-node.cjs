// Loaded before the program, by any version of Node.js: use only syntax and modules that all versions have.
"use strict";

var path = require("path");
var fs = require("fs");

/** The oldest Node.js that runs the program; the npm package `node` brings it. */
var neededMajor = 26;

var root = path.join(__dirname, "..");
var problem = findProblem(process.versions.node);
if (problem !== null) {
  process.stderr.write(problem + "\n");
  process.exit(1);
}
// Compiled code is kept from one start to the next, which saves half of a start. Where it cannot be written, none is.
require("module").enableCompileCache(path.join(root, "node_modules", ".cache", "chat4all"));

function findProblem(version) {
  if (!fs.existsSync(path.join(root, "node_modules", "fastify"))) {
    return "The dependencies are not installed: run npm ci in " + root + ".";
  }
  if (parseInt(version, 10) >= neededMajor) return null;
  return (
    "Chat4All needs Node.js " +
    neededMajor +
    ", and this is " +
    version +
    ": run npm rebuild node, which installs it " +
    "(npm ci does too, unless --ignore-scripts is set), and start with npm start."
  );
}
