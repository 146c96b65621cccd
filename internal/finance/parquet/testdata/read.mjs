// Prints what an independent reader makes of a Parquet file: its schema, the footer's names and values, and its rows.
// Usage: node read.mjs HYPARQUET_DIR FILE
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { gunzipSync } from 'node:zlib'

const [, , library, path] = process.argv
const { parquetMetadata, parquetReadObjects } = await import(pathToFileURL(library + '/src/index.js'))
const bytes = readFileSync(path)
const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)
const meta = parquetMetadata(file)
const exact = (_, v) => (typeof v === 'bigint' ? String(v) : v instanceof Date ? v.toISOString() : v)
const rows = await parquetReadObjects({ file, compressors: { GZIP: (input, length) => {
  const out = gunzipSync(input)
  if (out.length !== length) throw new Error(`a page of ${out.length} bytes says ${length}`)
  return out
} } })
// The last group alone, found by its offsets.
const last = meta.row_groups.length && await parquetReadObjects({ file, rowStart: Number(meta.num_rows) - 1, rowEnd: Number(meta.num_rows),
  compressors: { GZIP: input => gunzipSync(input) } })
console.log(JSON.stringify({ schema: meta.schema, meta: meta.key_value_metadata, groups: meta.row_groups.length, num_rows: meta.num_rows, last, rows }, exact))
