// The checks of Vercel's `ai` over any of its providers.
import { generateObject, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import { prompts, raisedBy, unknownModel } from "./driving.mjs";

const weather = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };
const nothing = { type: "object", properties: {}, additionalProperties: false };
const person = {
  type: "object",
  properties: { name: { type: "string" }, age: { type: "integer" } },
  required: ["name", "age"],
  additionalProperties: false,
};

// `chat` makes a model from (name, key); all default to what works.
export const checksOf = (chat) => {
  const tools = {
    get_weather: tool({ description: "The weather.", inputSchema: jsonSchema(weather), execute: async ({ city }) => `21 degrees in ${city}` }),
    list_cities: tool({ description: "The cities.", inputSchema: jsonSchema(nothing), execute: async () => "Paris, Rome" }),
  };
  const ask = (prompt, more = {}) => generateText({ model: chat(), prompt, maxRetries: 0, ...more });
  const callsOf = (steps) =>
    steps.flatMap((step) => step.toolCalls).map((call) => ({ name: call.toolName, arguments: call.input, id: call.toolCallId }));
  const called = async (prompt) => {
    const result = await ask(prompt, { tools, stopWhen: stepCountIs(3) });
    if (!result.text) throw new Error("no answer after the tool's result");
    return callsOf(result.steps);
  };
  const streamed = async (prompt) => {
    const errors = [];
    const result = streamText({ model: chat(), prompt, tools, stopWhen: stepCountIs(3), maxRetries: 0, onError: ({ error }) => errors.push(error) });
    const text = await result.text;
    if (errors.length) throw errors[0];
    if (!text) throw new Error("no answer after the tool's result");
    return callsOf(await result.steps);
  };
  return {
    plain: async () => {
      const { text, usage } = await ask(prompts.hello);
      return { text, input_tokens: usage.inputTokens, output_tokens: usage.outputTokens };
    },
    stream: async () => {
      const result = streamText({ model: chat(), prompt: prompts.hello, maxRetries: 0 });
      let text = "";
      let pieces = 0;
      for await (const piece of result.textStream) {
        text += piece;
        pieces += 1;
      }
      const usage = await result.usage;
      return { text, pieces, input_tokens: usage.inputTokens, output_tokens: usage.outputTokens };
    },
    tool: () => called(prompts.oneCall),
    streamed_tool: () => streamed(prompts.oneCall),
    parallel_tools: () => called(prompts.twoCalls),
    streamed_parallel_tools: () => streamed(prompts.twoCalls),
    tool_without_arguments: () => called(prompts.bareCall),
    streamed_tool_without_arguments: () => streamed(prompts.bareCall),
    structured: async () => (await generateObject({ model: chat(), schema: jsonSchema(person), prompt: prompts.person, maxRetries: 0 })).object,
    unauthorized: () => raisedBy(() => generateText({ model: chat({ isStranger: true }), prompt: prompts.hello, maxRetries: 0 })),
    unknown_model: () => raisedBy(() => generateText({ model: chat({ name: unknownModel }), prompt: prompts.hello, maxRetries: 0 })),
    rate_limited: () => raisedBy(() => ask(prompts.rateLimited)),
    server_error: () => raisedBy(() => ask(prompts.broken)),
    cut_stream_is_marked: async () => {
      const errors = [];
      const result = streamText({ model: chat(), prompt: prompts.truncated, maxRetries: 0, onError: ({ error }) => errors.push(error) });
      for await (const _ of result.textStream);
      const error = errors[0];
      return { finish: await result.finishReason, message: String(error?.message ?? error) };
    },
  };
};
