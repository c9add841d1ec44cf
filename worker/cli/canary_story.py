"""The story of a canary in plain words: what was compared, what was seen, how sure that is, and what came of it."""

from __future__ import annotations

from math import log

from msgspec import Struct, structs

from alice_rl.online.canary import Decision, GateRules, Verdict
from worker.cli.canary_record import CanaryRecord, Step
from worker.cli.canary_words import (
    alpha_words,
    chance_words,
    difference_words,
    odds_words,
    range_words,
    share_words,
)
from worker.cli.output import age_words, number_words
from worker.cli.status_view import time_words

__all__ = ["Passage", "Story", "tell"]

_DIGEST_SHOWN = 12


class Passage(Struct, frozen=True):
    """A part of a story under its title; each of the lines is a paragraph."""

    title: str
    lines: list[str]


class Story(Struct, frozen=True):
    """A story: its end in one sentence, then how it came to that."""

    headline: str
    passages: list[Passage]


def tell(record: CanaryRecord, rules: GateRules, after: str = "") -> Story:
    """The story of a canary.

    Parameters
    ----------
    record : CanaryRecord
    rules : GateRules
        What the gate asks for.
    after : str
        What happens next, in words.
    """
    verdict, over = record.verdict, record.end is not None
    passages = [
        Passage("What was compared" if over else "What is compared", _compared(record)),
        Passage("How the requests were split" if over else "How the requests are split", _split(record)),
        *(_numbers(record, verdict, rules) if verdict is not None and verdict.requests else [_nothing(record)]),
        Passage("Why it came to that" if over else "Where it stands", _why(record, verdict, rules)),
    ]
    passages += [Passage("What happens next", [after])] if after else []
    return Story(headline(record, rules), passages)


def _numbers(record: CanaryRecord, verdict: Verdict, rules: GateRules) -> list[Passage]:
    """What was seen and how sure it is; a void split comes first, because then the rest says nothing."""
    seen = [
        Passage("What was seen", _seen(record, verdict, rules)),
        Passage("How sure that is", _sure(record, verdict, rules)),
    ]
    void = verdict.decision is Decision.INVALID
    split = Passage("Are all outcomes there?", _ratio(record, verdict, rules))
    return (
        [split, *(structs.replace(part, title=f"{part.title}, if it could be trusted") for part in seen)]
        if void
        else [*seen, split]
    )


def headline(record: CanaryRecord, rules: GateRules) -> str:
    """How it stands, or ended, in one sentence."""
    name, against = f"Version {record.version}", _against(record)
    if record.end is not None:
        return f"{name} {_ended_words(record, record.end, against, rules)}"
    phase = record.state.phase if record.state else "trial"
    if phase == "shadow":
        return f"{name} is a shadow of {against}: what it would have chosen is logged, and it serves nobody yet."
    if phase == "approval":
        return (
            f"{name} has won its trial against {against}, and waits for a person: it goes live when somebody says so."
        )
    share = share_words(record.state.share if record.state else record.steps[-1].share)
    return f"{name} is on trial: it serves {share} of the requests beside {against}, and nothing is decided."


def _ended_words(record: CanaryRecord, end: Step, against: str, rules: GateRules) -> str:
    when, stayed = time_words(end.ts_ms), f"{against[0].upper()}{against[1:]} stayed live."
    if not end.by_gate:
        return _by_person(record, end, when)
    if end.what == "promoted":
        better = "better" if not rules.margin else f"better, or worse by less than {rules.margin:g},"
        return f"was promoted at {when}{_after(record, end)}: it had shown that it is {better} than {against}."
    if end.what == "rolled_back":
        return f"was rolled back at {when}{_after(record, end)}: it was worse than {against}. {stayed}"
    if end.what == "invalid":
        return f"was taken back at {when}{_after(record, end)}: its trial was void, so it was not judged. {stayed}"
    why = end.why or "the gate does not say why"
    return f"was withdrawn at {when}{_after(record, end)}, without a verdict: {why}. {stayed}"


def _by_person(record: CanaryRecord, end: Step, when: str) -> str:
    did = {"promoted": "was promoted", "withdrawn": "was withdrawn"}.get(end.what, "was taken back")
    won = end.what == "promoted" and record.verdict is not None and record.verdict.decision is Decision.PROMOTE
    gate = "the gate had found that it is better" if won else "the gate had not decided that"
    return f"{did} by {end.who or 'a person'} at {when}; {gate}."


def _after(record: CanaryRecord, end: Step) -> str:
    requests = f" and {number_words(end.verdict.requests)} requests" if end.verdict else ""
    return f", after {age_words((end.ts_ms - (record.opened_ms or end.ts_ms)) / 1000)}{requests}"


def _against(record: CanaryRecord) -> str:
    return "the live version" if record.live_version is None else f"version {record.live_version}"


def _compared(record: CanaryRecord) -> list[str]:
    return [
        f"Version {record.version}{_digest_words(record.digest)} as the canary, with "
        f"{_against(record)}{_digest_words(record.live_digest)}, which {'was' if record.end else 'is'} live.",
        "Both have the same users at the same time: who answers a request is drawn anew for every request. What is "
        "compared is the reward per request, with the weights that the canary was published with. A request counts "
        "once the time for its outcome is over, so quick outcomes count no earlier than slow ones.",
    ]


def _digest_words(digest: str) -> str:
    return f" ({digest[:_DIGEST_SHOWN]})" if digest else ""


def _split(record: CanaryRecord) -> list[str]:
    if not record.steps:
        since = record.state.share_since_ms if record.state else None
        share = record.state.share if record.state else 0.0
        return [f"{time_words(since)}  {share_words(share)}; the audit has forgotten what was before."]
    return [_step_words(step) for step in record.steps]


def _step_words(step: Step) -> str:
    did = {
        "live": f"version {step.live} went live: the comparison began anew",
        "promoted": "promoted: 100 %",
        "rolled_back": "rolled back: 0 %",
        "invalid": "taken back: 0 %",
        "withdrawn": "withdrawn: 0 %",
    }.get(step.what, share_words(step.share) if step.share else "shadow: 0 %, its choices are logged")
    by = "" if step.by_gate else f", by {step.who or 'a person'}"
    return f"{time_words(step.ts_ms)}  {did}{by}"


def _nothing(record: CanaryRecord) -> Passage:
    if record.end is not None:
        return Passage("What was seen", ["Nothing that counts: it ended before the outcome of any request was due."])
    if record.state is not None and record.state.phase == "shadow":
        return Passage("What was seen", ["Nothing yet: it serves nobody, so there is nothing to compare."])
    return Passage("What was seen", ["Nothing that counts yet: the time for the first outcomes is not over."])


def _seen(record: CanaryRecord, verdict: Verdict, rules: GateRules) -> list[str]:
    centre = record.centre
    arms, policies = verdict.arms, verdict.policies
    felt = difference_words(arms, "one that it did not serve", centre)
    chosen = difference_words(policies, f"what {_against(record)} would", centre)
    lines = [
        f"Users felt: a request that the canary served brought {felt}. The truth is {range_words(arms)}.",
        f"The policies differ: what the canary would choose brings {chosen}. "
        f"The truth is {range_words(policies)}. For this every request counts, whoever served it, by how likely either "
        f"policy was to choose what it got: they tell as much as {number_words(verdict.effective)} requests that the "
        f"canary had served alone would, where it served {number_words(verdict.canary_requests)}.",
        f"Each end of these ranges holds at all looks together: in at least {share_words(1 - rules.alpha)} of all "
        "trials the truth is never beyond it.",
    ]
    if arms.upper < policies.lower:
        lines.append(
            "The two contradict each other: what the canary chooses does not explain what users felt. So it is not the "
            "choices that are bad, something fails when the canary serves: look at what it calls."
        )
    return lines


def _sure(record: CanaryRecord, verdict: Verdict, rules: GateRules) -> list[str]:
    against, enough = _against(record), alpha_words(rules.alpha)
    claim = f"worse than {against} by {rules.margin:g} or more" if rules.margin else f"no better than {against}"
    return [
        f"Suppose that the canary were {claim}. A bet against that, at fair odds, would win nothing in the long run. "
        f"This one has made {odds_words(verdict.log_e_promote)} out of 1. {enough} is enough to promote: with such a "
        f"canary it is reached in at most {chance_words(rules.alpha)}, however often one looks.",
        f'The same bet against "it is no worse" has made {odds_words(verdict.log_e_rollback)} out of 1; {enough} is '
        "enough to roll it back.",
    ]


def _ratio(record: CanaryRecord, verdict: Verdict, rules: GateRules) -> list[str]:
    sent, came = _sent_words(record), verdict.canary_requests / verdict.requests
    facts = (
        f"{share_words(came)} of the requests that were answered came from the canary "
        f"({number_words(verdict.canary_requests)} of {number_words(verdict.requests)}), where {sent} were sent to it"
    )
    bet = f"The bet that the draw was another one has made {odds_words(verdict.log_e_ratio)} out of 1"
    needed = alpha_words(rules.alpha_ratio)
    if verdict.decision is not Decision.INVALID:
        return [f"As far as can be told: {facts}. {bet}; {needed} would be enough to call the trial void."]
    return [
        f"No: {facts}. {bet}, and {needed} is enough: by chance alone that is reached in at most "
        f"{chance_words(rules.alpha_ratio)}.",
        f"So {_missing_words(record, came)} outcomes are missing, or its requests were not logged. Those that are "
        "missing may be the bad ones, so what is there says nothing of either policy. Look at who writes outcomes, "
        "above all after a failure.",
    ]


def _missing_words(record: CanaryRecord, came: float) -> str:
    """Whose outcomes are too few."""
    shares = _shares(record)
    if shares and came < shares[0]:
        return "the canary's"
    return f"{_against(record)}'s" if shares and came > shares[-1] else "one side's"


def _shares(record: CanaryRecord) -> list[float]:
    """The shares that it has had, ascending."""
    had = {step.share for step in record.steps} | {point.share for point in record.points}
    return sorted(had - {0.0})


def _sent_words(record: CanaryRecord) -> str:
    """What share was sent to the canary, over all steps."""
    shares = _shares(record)
    if not shares:
        return "the configured share"
    if len(shares) == 1:
        return share_words(shares[0])
    return f"{share_words(shares[0])} to {share_words(shares[-1])}, step by step,"


def _why(record: CanaryRecord, verdict: Verdict | None, rules: GateRules) -> list[str]:
    end = record.end
    said = f"{_sentence(verdict.reason)}" if verdict else ""
    if end is not None and not end.by_gate:
        reason = f': "{end.why}".' if end.why else ", and gave no reason."
        last = f"The gate's last word was {verdict.decision}. {said}" if verdict else ""
        return [line for line in (f"{end.who or 'A person'} did it{reason}", last) if line]
    stands = end.why if end is not None else record.state.reason if record.state else ""
    told = [_sentence(stands), said if verdict and verdict.reason not in stands else ""]
    if end is None and verdict is not None and verdict.requests and _undecided(verdict, rules):
        better, worse = max(verdict.policies.upper, 0.0), max(-verdict.policies.lower, 0.0)
        told.append(
            f"That is no failure: it may be {better:.3f} better or {worse:.3f} worse than the other, and nobody can "
            "tell yet. Few requests alone never end a trial."
        )
    return [line for line in told if line] or ["Nobody has said why."]


def _undecided(verdict: Verdict, rules: GateRules) -> bool:
    """Whether neither bet has made enough; a hold may also be for the time that a canary has to run at least."""
    return verdict.decision is Decision.HOLD and verdict.log_e_promote < -log(rules.alpha)


def _sentence(text: str) -> str:
    """A reason as a sentence of its own."""
    return f"{text[0].upper()}{text[1:]}{'' if text.endswith('.') else '.'}" if text else ""
