// Calls a Marquee service: recommendations, and the watch events they are made from.
//
// A Client is one service, a Session one viewer in front of it. What a session records is in its next answer: it carries the places of its
// events in the log along as minPosition. Calls that were refused for now are made again, with growing pauses and never sooner than the
// service asks for; that is safe for events too, which count once by their eventId.
import { randomBytes, randomUUID } from "node:crypto";

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type Client as Calls, type Interceptor } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";

import { EventType, IngestService, WatchEventSchema, type EventResult, type WatchEvent } from "./gen/ingest/v1/ingest_pb.js";
import {
  HomePageRequestSchema,
  PositionSchema,
  RecommendRequestSchema,
  RecommendationService,
  ViewerSchema,
  type HomePageResponse,
  type Position,
  type Recommendation,
  type RecommendResponse,
  type Viewer,
} from "./gen/serving/v1/serving_pb.js";

export * from "./gen/catalog/v1/catalog_pb.js";
export { EventType, IngestService, WatchEventSchema, type EventResult, type WatchEvent } from "./gen/ingest/v1/ingest_pb.js";
export * from "./gen/serving/v1/serving_pb.js";
export { ServingAdminService } from "./gen/serving/v1/admin_pb.js";

export interface Options {
  /** The service's base URL, http or https. */
  address: string;
  /** Shown to the service as a bearer token. Over http it is readable on the way. */
  token?: string;
  /** Bounds every attempt, in milliseconds; 5,000 unless given. */
  timeoutMs?: number;
  /** How often a call is made at most; 4 unless given. */
  attempts?: number;
}

const firstPauseMs = 50;
const longestPauseMs = 2_000;

/** How long to stay away after a failure, in milliseconds, or undefined when the call would fail again. */
function comeBack(err: unknown): number | undefined {
  const e = ConnectError.from(err);
  const named = Number.parseInt(e.metadata.get("retry-after") ?? "", 10);
  switch (e.code) {
    case Code.Unavailable:
      return Number.isNaN(named) ? 0 : named * 1_000;
    case Code.ResourceExhausted:
      // Without a time to come back it is a message that is too large.
      return Number.isNaN(named) ? undefined : named * 1_000;
    default:
      return undefined;
  }
}

function retrying(attempts: number): Interceptor {
  return (next) => async (req) => {
    for (let attempt = 1, pause = firstPauseMs; ; attempt++, pause = Math.min(2 * pause, longestPauseMs)) {
      try {
        return await next(req);
      } catch (err) {
        const named = comeBack(err);
        if (req.stream || named === undefined || attempt >= attempts || req.signal.aborted) {
          throw err;
        }
        await new Promise((resolve) => setTimeout(resolve, Math.max(Math.random() * pause, named)));
      }
    }
  };
}

function showing(token: string): Interceptor {
  return (next) => (req) => {
    req.header.set("Authorization", `Bearer ${token}`);
    return next(req);
  };
}

/** Client calls one service. Its connections are kept. */
export class Client {
  readonly recommendations: Calls<typeof RecommendationService>;
  readonly events: Calls<typeof IngestService>;

  constructor(options: Options) {
    const interceptors = [retrying(options.attempts ?? 4)];
    if (options.token !== undefined) {
      interceptors.push(showing(options.token));
    }
    const transport = createConnectTransport({
      baseUrl: options.address,
      httpVersion: "1.1",
      defaultTimeoutMs: options.timeoutMs ?? 5_000,
      interceptors,
    });
    this.recommendations = createClient(RecommendationService, transport);
    this.events = createClient(IngestService, transport);
  }

  session(viewer: MessageInitShape<typeof ViewerSchema> & { profileId: string }): Session {
    return new Session(this, viewer);
  }
}

/** RejectedError names the events that were not accepted. All others of the call were. */
export class RejectedError extends Error {
  constructor(readonly results: EventResult[]) {
    super(
      results
        .map((r) => `event ${r.index}: ${r.erased ? "its profile is erased" : r.violations.map((v) => `${v.field}: ${v.message}`).join(", ")}`)
        .join("; "),
    );
    this.name = "RejectedError";
  }
}

type Watched = MessageInitShape<typeof WatchEventSchema>;

/** Session is one viewer in front of a service. */
export class Session {
  readonly #id = randomUUID();
  readonly #viewer: Viewer;
  /** By partition, the last offset that the session wrote. */
  readonly #written = new Map<number, bigint>();

  constructor(
    private readonly client: Client,
    viewer: MessageInitShape<typeof ViewerSchema> & { profileId: string },
  ) {
    this.#viewer = create(ViewerSchema, viewer);
  }

  #positions(): Position[] {
    return [...this.#written].map(([partition, offset]) => create(PositionSchema, { partition, offset }));
  }

  /** Completes an event: eventId, schemaVersion, profileId, sessionId and occurredAt, now, where it leaves them open. */
  event(e: Watched): WatchEvent {
    const out = create(WatchEventSchema, e);
    out.eventId ||= uuidv7();
    out.schemaVersion ||= 1;
    out.profileId ||= this.#viewer.profileId;
    out.sessionId ||= this.#id;
    out.occurredAt ||= BigInt(Date.now()) * 1_000n;
    return out;
  }

  /** Records what the viewer did. To record the same events again after a failure, complete them by event first. */
  async record(...events: Watched[]): Promise<void> {
    if (events.length === 0) {
      return;
    }
    const resp = await this.client.events.recordEvents({ events: events.map((e) => this.event(e)) });
    for (const p of resp.positions) {
      const last = this.#written.get(p.partition);
      if (last === undefined || p.offset > last) {
        this.#written.set(p.partition, p.offset);
      }
    }
    const rejected = resp.results.filter((r) => !r.accepted);
    if (rejected.length > 0) {
      throw new RejectedError(rejected);
    }
  }

  /** What to show the viewer next, from a state that has all that the session recorded. */
  recommend(req: MessageInitShape<typeof RecommendRequestSchema> = {}): Promise<RecommendResponse> {
    const m = create(RecommendRequestSchema, req);
    m.viewer = this.#viewer;
    m.minPosition.push(...this.#positions());
    return this.client.recommendations.recommend(m);
  }

  /** The viewer's home page. */
  homePage(req: MessageInitShape<typeof HomePageRequestSchema> = {}): Promise<HomePageResponse> {
    const m = create(HomePageRequestSchema, req);
    m.viewer = this.#viewer;
    m.minPosition.push(...this.#positions());
    return this.client.recommendations.homePage(m);
  }
}

/** What an answer's row was shown as; row is 0 for a list. */
export interface Shown {
  requestId: string;
  row: number;
  titles: Recommendation[];
}

/** The event that says the titles from place from up to, not including, place to were on screen. */
export function seen(shown: Shown, from: number, to: number): Watched {
  if (from < 0 || to > shown.titles.length || from >= to) {
    throw new RangeError(`places ${from} to ${to} of ${shown.titles.length}`);
  }
  return {
    type: EventType.SLATE_SEEN,
    requestId: shown.requestId,
    row: shown.row,
    seenTitleIds: shown.titles.slice(from, to).map((t) => t.titleId),
  };
}

/** An event of a type about the title at a place, which the answer led to. */
export function led(shown: Shown, place: number, type: EventType): Watched {
  const title = shown.titles[place];
  if (title === undefined) {
    throw new RangeError(`place ${place} of ${shown.titles.length}`);
  }
  return { type, titleId: title.titleId, requestId: shown.requestId, row: shown.row, rank: place };
}

/** A UUID of version 7: milliseconds since 1970, then chance. */
function uuidv7(): string {
  const b = randomBytes(16);
  b.writeUIntBE(Date.now(), 0, 6);
  b.writeUInt8((b.readUInt8(6) & 0x0f) | 0x70, 6);
  b.writeUInt8((b.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = b.toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
