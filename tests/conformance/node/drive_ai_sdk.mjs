// Vercel's `ai` with `@ai-sdk/openai-compatible`.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany } from "ai";
import { checksOf } from "./ai_sdk.mjs";
import { apiKey, embeddingModel, model, run, v1, wrongKey } from "./driving.mjs";

const provider = (key) =>
  createOpenAICompatible({ name: "kairosroute", baseURL: v1, apiKey: key, includeUsage: true, supportsStructuredOutputs: true });

await run({
  ...checksOf(({ name = model, isStranger = false } = {}) => provider(isStranger ? wrongKey : apiKey)(name)),
  embeddings: async () => {
    const embedder = provider(apiKey).embeddingModel(embeddingModel);
    const { embeddings, usage } = await embedMany({ model: embedder, values: ["one", "two"], maxRetries: 0 });
    return { sizes: embeddings.map((embedding) => embedding.length), input_tokens: usage.tokens };
  },
});
