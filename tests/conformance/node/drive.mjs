// Drive OpenAI's Node client against a gateway and print what it understood, as one JSON object.
// Usage: node drive.mjs BASE_URL API_KEY MODEL
import OpenAI from "openai";

const [baseURL, apiKey, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 20_000 });
const messages = [{ role: "user", content: "Say hello to the neighbours." }];
const tools = [
  {
    type: "function",
    function: {
      name: "get_weather",
      parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    },
  },
];
const schema = {
  type: "object",
  properties: { name: { type: "string" }, age: { type: "integer" } },
  required: ["name", "age"],
  additionalProperties: false,
};

const failure = async (body) => {
  try {
    await client.chat.completions.create(body);
  } catch (error) {
    return { type: error.constructor.name, status: error.status, code: error.code, requestId: error.requestID };
  }
  return null;
};

const { data: whole, response } = await client.chat.completions.create({ model, messages }).withResponse();

let text = "";
let usage = null;
const stream = await client.chat.completions.create({
  model,
  messages,
  stream: true,
  stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  text += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}

const asked = await client.chat.completions.create({ model, messages, tools, tool_choice: "required" });
const assembled = await client.chat.completions
  .stream({ model, messages, tools, tool_choice: "required" })
  .finalChatCompletion();
const parsed = await client.chat.completions.parse({
  model,
  messages,
  response_format: { type: "json_schema", json_schema: { name: "person", strict: true, schema } },
});
const models = [];
for await (const found of client.models.list()) models.push(found.id);

console.log(
  JSON.stringify({
    whole: {
      content: whole.choices[0].message.content,
      finish: whole.choices[0].finish_reason,
      usage: whole.usage,
      receipt: whole.x_kairosroute.receipt_id,
      receiptHeader: response.headers.get("x-kairosroute-receipt-id"),
    },
    stream: { text, usage },
    tool: asked.choices[0].message.tool_calls,
    streamedTool: assembled.choices[0].message.tool_calls,
    person: parsed.choices[0].message.parsed ?? JSON.parse(parsed.choices[0].message.content),
    models,
    unknownModel: await failure({ model: "openai/no-such-model", messages }),
    badBody: await failure({ model, messages: "hello" }),
  }),
);
