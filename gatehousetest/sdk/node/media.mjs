import assert from 'node:assert/strict';
import test from 'node:test';
import { toFile } from 'openai';
import { baseURL, apiKey, client, collect } from './setup.mjs';

const openai = client();
const magic = (buffer, text) => assert.equal(buffer.subarray(0, text.length).toString('latin1'), text);

test('embeddings: base64 on the wire, numbers in the hand', async () => {
  const ask = { model: 'text-embedding-3-small', input: ['one', 'two'] };
  const byDefault = await openai.embeddings.create(ask);
  const asked = await openai.embeddings.create({ ...ask, encoding_format: 'float' });
  assert.equal(byDefault.data.length, 2);
  assert.equal(byDefault.data[0].embedding.length, 1536);
  byDefault.data.forEach((e, i) => e.embedding.forEach((v, j) => assert.ok(Math.abs(v - asked.data[i].embedding[j]) < 1e-6)));
  const raw = await openai.embeddings.create({ ...ask, encoding_format: 'base64' });
  assert.equal(typeof raw.data[0].embedding, 'string');
  assert.equal((await openai.embeddings.create({ ...ask, dimensions: 256 })).data[0].embedding.length, 256);
  assert.ok(byDefault.usage.prompt_tokens > 0);
});

test('moderations, with the default model too', async () => {
  const named = await openai.moderations.create({ model: 'omni-moderation-latest', input: 'Hello' });
  assert.equal(named.results[0].flagged, false);
  const unnamed = await openai.moderations.create({ input: 'Hello' });
  assert.deepEqual(unnamed.results, named.results);
});

test('images: generate', async () => {
  const images = await openai.images.generate({ model: 'gpt-image-1', prompt: 'A gate' });
  magic(Buffer.from(images.data[0].b64_json, 'base64'), '\x89PNG');
  assert.ok(images.usage.output_tokens > 0);
});

test('images: a stream', async () => {
  const events = await collect(await openai.images.generate({ model: 'gpt-image-1', prompt: 'A gate', stream: true, partial_images: 2 }));
  assert.deepEqual(events.map((e) => e.type), ['image_generation.partial_image', 'image_generation.partial_image', 'image_generation.completed']);
});

test('images: edit and variation', async () => {
  const png = Buffer.from((await openai.images.generate({ model: 'gpt-image-1', prompt: 'A gate' })).data[0].b64_json, 'base64');
  const edited = await openai.images.edit({ model: 'gpt-image-1', prompt: 'Paint it', image: await toFile(png, 'gate.png', { type: 'image/png' }) });
  magic(Buffer.from(edited.data[0].b64_json, 'base64'), '\x89PNG');
  const both = await openai.images.edit({ model: 'gpt-image-1', prompt: 'Join them', image: [await toFile(png, 'a.png', { type: 'image/png' }), await toFile(png, 'b.png', { type: 'image/png' })] });
  magic(Buffer.from(both.data[0].b64_json, 'base64'), '\x89PNG');
  const varied = await openai.images.createVariation({ model: 'dall-e-2', image: await toFile(png, 'gate.png', { type: 'image/png' }), response_format: 'b64_json' });
  magic(Buffer.from(varied.data[0].b64_json, 'base64'), '\x89PNG');
});

const speak = async (response_format) => {
  const response = await openai.audio.speech.create({ model: 'gpt-4o-mini-tts', voice: 'alloy', input: 'The gate is open.', response_format });
  assert.equal(response.status, 200);
  return { type: response.headers.get('content-type'), sound: Buffer.from(await response.arrayBuffer()) };
};

test('speech is binary', async () => {
  const { type, sound } = await speak('wav');
  assert.match(type, /^audio\/wav/);
  magic(sound, 'RIFF');
  assert.match((await speak('mp3')).type, /^audio\/mpeg/);
  const events = await (await openai.audio.speech.create({ model: 'gpt-4o-mini-tts', voice: 'alloy', input: 'Hi', stream_format: 'sse' })).text();
  assert.match(events, /speech\.audio\.done/);
});

test('transcription', async () => {
  const { sound } = await speak('wav');
  const ask = { model: 'gpt-4o-transcribe', file: await toFile(sound, 'speech.wav', { type: 'audio/wav' }) };
  const json = await openai.audio.transcriptions.create(ask);
  assert.ok(json.text.length > 0);
  assert.ok(json.usage);
  const events = await collect(await openai.audio.transcriptions.create({ ...ask, stream: true }));
  assert.equal(events.at(-1).type, 'transcript.text.done');
  const whisper = { ...ask, model: 'whisper-1' };
  assert.equal(typeof (await openai.audio.transcriptions.create({ ...whisper, response_format: 'text' })), 'string');
  const verbose = await openai.audio.transcriptions.create({ ...whisper, response_format: 'verbose_json', timestamp_granularities: ['word', 'segment'] });
  assert.ok(verbose.duration > 0 && verbose.words.length > 0 && verbose.segments.length > 0);
  const probable = await openai.audio.transcriptions.create({ ...ask, include: ['logprobs'], chunking_strategy: { type: 'server_vad', threshold: 0.5 } });
  assert.equal(probable.text, json.text);
  assert.ok((await openai.audio.translations.create(whisper)).text.length > 0);
});

test('a form has its model wherever it likes', async () => {
  const { sound } = await speak('wav');
  const file = new File([sound], 'speech.wav', { type: 'audio/wav' });
  const texts = [];
  for (const fields of [[['model', 'whisper-1'], ['file', file]], [['file', file], ['model', 'whisper-1']]]) {
    // The client writes the fields of an object in the object's order.
    texts.push((await openai.audio.transcriptions.create(Object.fromEntries(fields))).text);
    const form = new FormData();
    for (const [name, value] of fields) form.append(name, value);
    const response = await fetch(`${baseURL}/audio/transcriptions`, { method: 'POST', headers: { authorization: `Bearer ${apiKey}` }, body: form });
    assert.equal(response.status, 200);
    texts.push((await response.json()).text);
  }
  assert.equal(new Set(texts).size, 1);
});
