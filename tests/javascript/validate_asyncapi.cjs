// Validates the AsyncAPI document on standard input against the JSON schema of its specification. Prints the errors.
const Ajv = require("ajv");
const addFormats = require("ajv-formats");
const specification = require("@asyncapi/specs/schemas/3.0.0-without-$id.json");

const document = JSON.parse(require("fs").readFileSync(0, "utf8"));
const ajv = new Ajv({ strict: false, meta: false, validateSchema: false, allErrors: true, logger: false, validateFormats: true });
addFormats(ajv);
if (!ajv.validate(specification, document)) {
  for (const error of ajv.errors) console.log(`${error.instancePath || "/"} ${error.message}`);
  process.exit(1);
}
