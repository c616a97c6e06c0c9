// OpenAI's Node client.
import OpenAI from "openai";
import { apiKey, embeddingModel, model, prompts, raisedBy, run, unknownModel, v1, wrongKey } from "./driving.mjs";

const clientOf = (key) => new OpenAI({ baseURL: v1, apiKey: key, maxRetries: 0, timeout: 20_000 });
const client = clientOf(apiKey);
const tools = [
  { name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } },
  { name: "list_cities", parameters: { type: "object", properties: {} } },
].map((made) => ({ type: "function", function: made }));
const schema = {
  type: "object",
  properties: { name: { type: "string" }, age: { type: "integer" } },
  required: ["name", "age"],
  additionalProperties: false,
};

const said = (content) => [{ role: "user", content }];
const ask = (prompt, more = {}) => client.chat.completions.create({ model, messages: said(prompt), ...more });
const usageOf = ({ usage }) => ({ input_tokens: usage.prompt_tokens, output_tokens: usage.completion_tokens });
const callsOf = (answer) =>
  answer.choices[0].message.tool_calls.map((call) => ({
    name: call.function.name,
    arguments: JSON.parse(call.function.arguments),
    id: call.id,
  }));
const called = async (prompt) => callsOf(await ask(prompt, { tools }));
const streamed = async (prompt) =>
  callsOf(await client.chat.completions.stream({ model, messages: said(prompt), tools }).finalChatCompletion());

await run({
  plain: async () => {
    const answer = await ask(prompts.hello);
    return { text: answer.choices[0].message.content, ...usageOf(answer) };
  },
  stream: async () => {
    let text = "";
    let pieces = 0;
    let last;
    for await (const chunk of await ask(prompts.hello, { stream: true, stream_options: { include_usage: true } })) {
      const piece = chunk.choices[0]?.delta?.content ?? "";
      text += piece;
      pieces += piece ? 1 : 0;
      last = chunk;
    }
    return { text, pieces, ...usageOf(last) };
  },
  tool: () => called(prompts.oneCall),
  streamed_tool: () => streamed(prompts.oneCall),
  parallel_tools: () => called(prompts.twoCalls),
  streamed_parallel_tools: () => streamed(prompts.twoCalls),
  tool_without_arguments: () => called(prompts.bareCall),
  streamed_tool_without_arguments: () => streamed(prompts.bareCall),
  structured: async () => {
    const response_format = { type: "json_schema", json_schema: { name: "person", strict: true, schema } };
    const answer = await client.chat.completions.parse({ model, messages: said(prompts.person), response_format });
    return answer.choices[0].message.parsed ?? JSON.parse(answer.choices[0].message.content);
  },
  cost: async () => {
    const { data, response } = await ask(prompts.hello).withResponse();
    if (data.x_kairosroute.receipt_id !== response.headers.get("x-kairosroute-receipt-id")) throw new Error("two receipts");
    return data.usage.cost;
  },
  models: async () => {
    const names = [];
    for await (const found of client.models.list()) names.push(found.id);
    return names;
  },
  embeddings: async () => {
    const answer = await client.embeddings.create({ model: embeddingModel, input: ["one", "two"], dimensions: 8 });
    return { sizes: answer.data.map(({ embedding }) => embedding.length), input_tokens: answer.usage.prompt_tokens };
  },
  completion: async () => {
    const answer = await client.completions.create({ model, prompt: prompts.hello });
    return { text: answer.choices[0].text, ...usageOf(answer) };
  },
  responses: async () => {
    const answer = await client.responses.create({ model, input: prompts.hello });
    return { text: answer.output_text, ...answer.usage };
  },
  streamed_responses: async () => {
    let pieces = 0;
    const stream = client.responses.stream({ model, input: prompts.hello });
    for await (const event of stream) pieces += event.type === "response.output_text.delta" ? 1 : 0;
    const answer = await stream.finalResponse();
    return { text: answer.output_text, pieces, ...answer.usage };
  },
  unauthorized: () => raisedBy(() => clientOf(wrongKey).chat.completions.create({ model, messages: said(prompts.hello) })),
  unknown_model: () => raisedBy(() => client.chat.completions.create({ model: unknownModel, messages: said(prompts.hello) })),
  bad_request: () => raisedBy(() => client.chat.completions.create({ model, messages: "hello" })),
  rate_limited: () => raisedBy(() => ask(prompts.rateLimited)),
  server_error: () => raisedBy(() => ask(prompts.broken)),
  cut_stream: () =>
    raisedBy(async () => {
      for await (const _ of await ask(prompts.truncated, { stream: true }));
    }),
});
