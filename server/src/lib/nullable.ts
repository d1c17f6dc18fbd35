import { type Static, type TSchema, Type } from "typebox";

/**
 * The schema or null, written as a list of types, because `anyOf` would make a serializer try each schema on every
 * value.
 */
export function nullable<T extends TSchema>(schema: T, options: { description?: string } = {}) {
  const { type, enum: values, const: value, ...rest } = schema as { type?: string; enum?: unknown[]; const?: unknown };
  const known = value === undefined ? values : [value];
  return Type.Unsafe<Static<T> | null>({
    ...(type === undefined ? {} : { type: [type, "null"] }),
    ...(known === undefined ? {} : { enum: [...known, null] }),
    ...rest,
    ...options,
  });
}
