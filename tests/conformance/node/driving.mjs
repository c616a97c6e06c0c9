// What the Node drivers share; the same checks and prompts as tests/conformance/clients/driving.py.
// Usage: node drive_<client>.mjs GATEWAY_URL API_KEY MODEL
export const [gatewayUrl, apiKey, model] = process.argv.slice(2);
export const v1 = `${gatewayUrl}/v1`;
export const apiV1 = `${gatewayUrl}/api/v1`;
export const wrongKey = "kr_live_doesnotexist00000000000000";
export const embeddingModel = "openai/text-embedding-3-small";
export const unknownModel = "openai/no-such-model";
export const prompts = {
  hello: "Say hello to the neighbours.",
  oneCall: 'Use get_weather("Paris").',
  twoCalls: 'Use get_weather("Paris") and get_weather("Rome").',
  bareCall: "Use list_cities().",
  person: "Name a person.",
  rateLimited: "[[fault:429 retry_after=1]]",
  broken: "[[fault:500]]",
  truncated: "Count slowly to forty. [[fault:truncate after_chunks=3]]",
};

// The class of what an attempt throws, the SDK's own wrapping taken off.
export const raisedBy = async (attempt) => {
  try {
    const found = await attempt();
    return { type: null, message: JSON.stringify(found)?.slice(0, 400) };
  } catch (error) {
    const inner = error.lastError ?? error;
    return { type: inner.name?.startsWith("AI_") ? inner.name : inner.constructor.name, status: inner.statusCode ?? inner.status, message: String(inner.message).slice(0, 400) };
  }
};

export const run = async (checks) => {
  const found = {};
  const { rate_limited, ...others } = checks; // a provider that asked to wait is left alone by the gateway after that
  for (const [name, check] of Object.entries({ ...others, rate_limited })) {
    try {
      found[name] = await check();
    } catch (error) {
      found[name] = { raised: `${error.name}: ${error.message}`.slice(0, 600), where: String(error.stack).split("\n").slice(0, 8) };
    }
  }
  console.log(JSON.stringify(found));
};
