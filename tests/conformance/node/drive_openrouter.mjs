// OpenRouter's provider for Vercel's `ai`.
import { generateText } from "ai";
import { createOpenRouter } from "@openrouter/ai-sdk-provider";
import { checksOf } from "./ai_sdk.mjs";
import { apiKey, apiV1, model, prompts, run, wrongKey } from "./driving.mjs";

const provider = (key) => createOpenRouter({ baseURL: apiV1, apiKey: key });
const chat = ({ name = model, isStranger = false } = {}) => provider(isStranger ? wrongKey : apiKey).chat(name, { usage: { include: true } });

await run({
  ...checksOf(chat),
  cost: async () => (await generateText({ model: chat(), prompt: prompts.hello, maxRetries: 0 })).providerMetadata.openrouter.usage.cost,
});
