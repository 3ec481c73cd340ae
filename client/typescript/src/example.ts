// A viewer plays the first title that is recommended: the next answer is without it, at once.
//
//   node dist/example.js http://localhost:8080 PROFILE
import { Client, EventType, led, seen } from "./index.js";

const [address = "http://localhost:8080", profileId = "anna"] = process.argv.slice(2);
const token = process.env["MARQUEE_TOKEN"];
const viewer = new Client({ address, ...(token === undefined ? {} : { token }) }).session({ profileId, country: "NO" });

const list = await viewer.recommend({ count: 5 });
const shown = { ...list, row: 0 };
const played = { ...led(shown, 0, EventType.PLAY_END), playId: "play-1", watchedMs: 5_400_000n, durationMs: 6_000_000n };
await viewer.record(seen(shown, 0, list.titles.length), played);

const next = await viewer.recommend({ count: 5 });
console.log(
  JSON.stringify({
    recommended: list.titles.length,
    still: next.titles.some((t) => t.titleId === list.titles[0]?.titleId),
    degraded: next.degraded.filter((step) => step === "state_stale"),
  }),
);
