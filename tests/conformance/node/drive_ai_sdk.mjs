// Vercel's `ai` with `@ai-sdk/openai-compatible`.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { checksOf } from "./ai_sdk.mjs";
import { apiKey, model, run, v1, wrongKey } from "./driving.mjs";

const provider = (key) =>
  createOpenAICompatible({ name: "kairosroute", baseURL: v1, apiKey: key, includeUsage: true, supportsStructuredOutputs: true });

await run(checksOf(({ name = model, isStranger = false } = {}) => provider(isStranger ? wrongKey : apiKey)(name)));
