/**
 * Reads OTLP bodies, protobuf and JSON, into one shape by the table of otlp-schema.ts: JSON names, ids in lower-case
 * hexadecimal, 64-bit integers as bigint. Strict: an unknown field, a wrong wire type or a wrong JSON type throws.
 */
import { type Field, SCHEMAS, type Scalar, type Schema } from './otlp-schema.ts'

export type Decoded = { [name: string]: DecodedValue }
export type DecodedValue = string | number | bigint | boolean | Uint8Array | Decoded | DecodedValue[]

const VARINT = 0
const FIXED64 = 1
const LENGTH = 2
const FIXED32 = 5

export function schemaOf(name: string): Schema {
  const schema = SCHEMAS[name]
  if (schema === undefined) throw new Error(`no schema ${name}`)
  return schema
}

// Protobuf

export function decodeProtobuf(name: string, bytes: Uint8Array): Decoded {
  const reader = new Reader(bytes)
  const schema = schemaOf(name)
  const result: Decoded = {}
  while (!reader.done) {
    const tag = Number(reader.varint())
    const field = schema[tag >>> 3]
    if (field === undefined) throw new Error(`${name} has no field ${tag >>> 3}`)
    readField(reader, result, field, tag & 7, name)
  }
  return result
}

function readField(reader: Reader, result: Decoded, field: Field, wire: number, owner: string): void {
  const { name, type, many } = field
  const at = `${owner}.${name}`
  if (typeof type === 'object') {
    if (wire !== LENGTH) throw new Error(`${at} has wire type ${wire}`)
    return put(result, field, decodeProtobuf(type.message, reader.bytes()), at)
  }
  if (many && wire === LENGTH && type !== 'string' && type !== 'bytes') {
    const packed = new Reader(reader.bytes())
    result[name] ??= []
    while (!packed.done) put(result, field, readScalar(packed, type, wireOf(type), at), at)
    return
  }
  put(result, field, readScalar(reader, type, wire, at), at)
}

function put(result: Decoded, { name, many }: Field, value: DecodedValue, at: string): void {
  if (!many) {
    if (name in result) throw new Error(`${at} comes twice`)
    result[name] = value
    return
  }
  const list = result[name] ?? []
  if (!Array.isArray(list)) throw new Error(`${at} is no list`)
  list.push(value)
  result[name] = list
}

function wireOf(type: Scalar): number {
  switch (type) {
    case 'string':
    case 'bytes':
    case 'hex':
      return LENGTH
    case 'double':
    case 'fixed64':
    case 'sfixed64':
      return FIXED64
    case 'fixed32':
      return FIXED32
    default:
      return VARINT
  }
}

function readScalar(reader: Reader, type: Scalar, wire: number, at: string): DecodedValue {
  if (wire !== wireOf(type)) throw new Error(`${at} has wire type ${wire}, not ${wireOf(type)}`)
  switch (type) {
    case 'string':
      return new TextDecoder('utf-8', { fatal: true }).decode(reader.bytes())
    case 'bytes':
      return reader.bytes()
    case 'hex':
      return Buffer.from(reader.bytes()).toString('hex')
    case 'bool':
      return reader.varint() !== 0n
    case 'enum':
    case 'uint32':
      return Number(reader.varint())
    case 'int64':
      return BigInt.asIntN(64, reader.varint())
    case 'double':
      return reader.view(8).getFloat64(0, true)
    case 'fixed32':
      return reader.view(4).getUint32(0, true)
    case 'fixed64':
      return reader.view(8).getBigUint64(0, true)
    case 'sfixed64':
      return reader.view(8).getBigInt64(0, true)
  }
}

class Reader {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length
  }

  varint(): bigint {
    let value = 0n
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#bytes[this.#at++]
      if (byte === undefined) throw new Error('the body ends inside a number')
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    throw new Error('a number has more than ten bytes')
  }

  bytes(): Uint8Array {
    return this.#take(Number(this.varint()))
  }

  view(length: number): DataView {
    const { buffer, byteOffset } = this.#take(length)
    return new DataView(buffer, byteOffset, length)
  }

  #take(length: number): Uint8Array {
    const end = this.#at + length
    if (end > this.#bytes.length) throw new Error('the body ends inside a field')
    const taken = this.#bytes.subarray(this.#at, end)
    this.#at = end
    return taken
  }
}

// JSON

export function decodeJson(name: string, value: unknown): Decoded {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error(`${name} is no object`)
  const fields = new Map(Object.values(schemaOf(name)).map((field) => [field.name, field]))
  const result: Decoded = {}
  for (const [key, item] of Object.entries(value)) {
    const field = fields.get(key)
    if (field === undefined) throw new Error(`${name} has no field ${key}`)
    const at = `${name}.${key}`
    if (!field.many) result[key] = jsonItem(field, item, at)
    else if (Array.isArray(item)) result[key] = item.map((one) => jsonItem(field, one, at))
    else throw new Error(`${at} is no list`)
  }
  return result
}

function jsonItem({ type }: Field, value: unknown, at: string): DecodedValue {
  if (typeof type === 'object') return decodeJson(type.message, value)
  switch (type) {
    case 'string':
    case 'bytes':
      if (typeof value === 'string') return value
      break
    case 'hex':
      if (typeof value === 'string' && /^([0-9a-f]{2})*$/.test(value)) return value
      break
    case 'bool':
      if (typeof value === 'boolean') return value
      break
    case 'double':
      if (typeof value === 'number') return value
      break
    case 'enum':
    case 'uint32':
    case 'fixed32':
      if (typeof value === 'number' && Number.isInteger(value) && value >= 0) return value
      break
    case 'int64':
    case 'fixed64':
    case 'sfixed64':
      // The protocol allows numbers as well as decimal strings for 64-bit integers.
      if (typeof value === 'string' && /^-?\d+$/.test(value)) return BigInt(value)
      if (typeof value === 'number' && Number.isSafeInteger(value)) return BigInt(value)
  }
  throw new Error(`${at} is not ${type} but ${JSON.stringify(value)}`)
}
