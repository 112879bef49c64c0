"""The demo's texts: support tickets from a seeded grammar, or CLINC150 from a folder."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, slots=True)
class Ticket:
    """A text with its intent (the class the model predicts) and the topic that intent belongs to."""

    text: str
    label: str
    topic: str


@dataclass(frozen=True, slots=True)
class Clinc:
    """CLINC150 by split; the topic is the domain."""

    train: tuple[Ticket, ...]
    validation: tuple[Ticket, ...]
    test: tuple[Ticket, ...]


# topic → intent → ways to say it; {slots} are filled from SLOTS
GRAMMAR: dict[str, dict[str, tuple[str, ...]]] = {
    "billing": {
        "double_charge": (
            "I was charged twice for {product}",
            "my card shows two payments of {amount} for one order",
            "you took {amount} from my account two times",
            "there is a duplicate charge on my {month} statement",
        ),
        "invoice_copy": (
            "please send me the invoice for order {number}",
            "I need a PDF of my {month} invoice for accounting",
            "where can I download the receipt for {product}",
            "our bookkeeper asks for a copy of bill {number}",
        ),
        "refund_status": (
            "when will my refund of {amount} arrive",
            "I returned {product} and still have no money back",
            "my refund for order {number} is pending since {day}",
            "the {amount} you promised to pay back is not on my card",
        ),
        "payment_declined": (
            "my card is declined at checkout",
            "payment for {product} fails although my bank says it is fine",
            "I cannot pay, the form says transaction refused",
            "your checkout rejects my {month} card",
        ),
    },
    "shipping": {
        "late_parcel": (
            "my parcel {number} was due on {day} and is not here",
            "delivery of {product} is a week late",
            "tracking has not moved since {day}",
            "where is my package, it should have arrived in {month}",
        ),
        "wrong_address": (
            "please change the delivery address of order {number}",
            "I moved to {city}, can the courier come there",
            "the parcel goes to my old flat in {city}",
            "I typed the wrong street for order {number}",
        ),
        "damaged_goods": (
            "{product} arrived broken",
            "the box was crushed and {product} has a crack",
            "the screen of {product} was shattered in the parcel",
            "I received {product} with scratches all over",
        ),
        "customs": (
            "customs in {city} wants {amount} for my parcel",
            "which import papers do I need for order {number}",
            "my shipment is held at the border since {day}",
            "do I pay duty on {product}",
        ),
    },
    "account": {
        "password_reset": (
            "I forgot my password",
            "the reset link has expired, send another one",
            "no reset mail arrives in my inbox",
            "I cannot choose a new password, the page reloads",
        ),
        "locked_out": (
            "my account is locked after too many attempts",
            "login says my profile was suspended on {day}",
            "I am locked out since I changed my phone",
            "please unlock the user with number {number}",
        ),
        "change_email": (
            "how do I change the email of my profile",
            "I want to log in with my work address from now on",
            "replace my old mail address, I lost access to it",
            "update the contact address of customer {number}",
        ),
        "delete_account": (
            "delete my account and everything you know about me",
            "close my profile for good",
            "I want my personal records erased by {day}",
            "please remove user {number} from your system",
        ),
    },
    "subscription": {
        "cancel_plan": (
            "cancel my subscription from {month} on",
            "I do not want to renew my membership",
            "stop the monthly plan today",
            "how do I end my contract before {month}",
        ),
        "upgrade_plan": (
            "I want to move to the premium plan",
            "what does an upgrade for ten seats cost",
            "switch our team to the yearly tariff",
            "can I change from basic to pro in {month}",
        ),
        "trial_question": (
            "how long is the free trial",
            "my trial ended on {day}, can I have another week",
            "does the trial turn into a paid plan by itself",
            "what happens to my files after the trial",
        ),
        "voucher": (
            "my voucher code is not accepted",
            "the discount of {amount} is missing at checkout",
            "can I use two coupons for {product}",
            "the promotion code from {month} says invalid",
        ),
    },
    "technical": {
        "app_crash": (
            "the app crashes when I open the settings",
            "after the {month} update the app closes at once",
            "it freezes on the start screen of my tablet",
            "the program stops with error {number}",
        ),
        "slow_pages": (
            "your pages load very slowly since {day}",
            "search takes a minute to answer",
            "the dashboard times out in the morning",
            "everything lags when I scroll through my list",
        ),
        "sync_problem": (
            "my notes do not sync between phone and laptop",
            "changes from {day} are missing on my other device",
            "the calendar shows old entries after syncing",
            "synchronisation stops at half with code {number}",
        ),
        "notification": (
            "I get no push notifications any more",
            "turn off the alerts at night",
            "the phone rings for every small message",
            "reminder mails come twice each {day}",
        ),
    },
}
UNSEEN_GRAMMAR: dict[str, dict[str, tuple[str, ...]]] = {
    "recall": {
        "battery_heat": (
            "the battery swells and smells of smoke",
            "my charger got so hot that it melted the socket",
            "sparks came out while it was charging overnight",
            "it burnt my fingers, is there a safety recall",
        ),
        "fire_report": (
            "the fire brigade came because the device ignited",
            "flames under the lid, we evacuated the kitchen",
            "is serial plate zone seven part of the hazard warning",
            "toxic fumes leak from the casing, my child coughs",
        ),
    },
    "crypto": {
        "wallet_seed": (
            "I lost the seed phrase of my bitcoin wallet",
            "can the ledger be restored from twelve words",
            "someone drained my ethereum tokens",
            "the blockchain explorer shows zero confirmations",
        ),
        "staking": (
            "what yield does staking stablecoins pay",
            "my validator node was slashed overnight",
            "bridge the tokens to another chain without gas",
            "why is the mining pool payout below the hash rate",
        ),
    },
}
KNOWN_TOPICS = tuple(GRAMMAR)
UNSEEN_TOPICS = tuple(UNSEEN_GRAMMAR)

SLOTS: dict[str, tuple[str, ...]] = {
    "product": (
        "the headphones", "my new kettle", "the garden lamp", "a winter jacket", "the desk", "these running shoes",
        "the camera", "a coffee grinder", "the backpack", "my monitor", "the toaster", "a set of knives",
    ),
    "amount": ("20 euros", "14.90", "129 dollars", "55 pounds", "8.50", "300 euros", "79.99", "45 francs"),
    "month": ("January", "March", "April", "June", "August", "October", "November", "December"),
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "last week", "yesterday"),
    "city": ("Leeds", "Porto", "Ghent", "Zurich", "Turin", "Aarhus", "Lyon", "Graz", "Malmo", "Cork"),
}  # fmt: skip
OPENINGS = (
    "", "", "", "", "hi, ", "hello, ", "good morning, ", "hey there, ", "dear team, ", "hi support, ",
    "sorry to bother you, ", "quick question: ", "again: ", "urgent, ",
)  # fmt: skip
CLOSINGS = (
    "", "", "", "", ". please help", ", thanks", ". thank you", ". can someone look at this",
        ". this is the second time", ", any idea", ". I am waiting for your answer",
    ". it is for a gift", ". best regards", ". I need it soon",
)  # fmt: skip
TYPO_CHANCE = 0.15


def generate(count: int, *, rng: np.random.Generator, topics: Sequence[str] = KNOWN_TOPICS) -> tuple[Ticket, ...]:
    """Return `count` tickets, each intent of `topics` as likely as any other. Raises KeyError for an unknown topic."""
    everything = GRAMMAR | UNSEEN_GRAMMAR
    intents = [(topic, label, ways) for topic in topics for label, ways in everything[topic].items()]
    tickets = []
    for choice in rng.integers(len(intents), size=count):
        topic, label, ways = intents[int(choice)]
        tickets.append(Ticket(_say(_pick(ways, rng), rng), label, topic))
    return tuple(tickets)


def _pick(ways: Sequence[str], rng: np.random.Generator) -> str:
    return ways[int(rng.integers(len(ways)))]


def _say(way: str, rng: np.random.Generator) -> str:
    filled = {name: _pick(values, rng) for name, values in SLOTS.items()}
    text = _pick(OPENINGS, rng) + way.format(number=int(rng.integers(10_000, 99_999)), **filled) + _pick(CLOSINGS, rng)
    if rng.random() < TYPO_CHANCE:
        place = int(rng.integers(len(text) - 1))
        text = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    return text.lower() if rng.random() < 0.5 else text


def load_clinc(folder: Path) -> Clinc:
    """Read CLINC150's data_full.json and domains.json. Raises OSError, ValueError or KeyError."""
    domains: dict[str, list[str]] = json.loads((folder / "domains.json").read_text(encoding="utf-8"))
    topic_of = {intent: domain for domain, intents in domains.items() for intent in intents}
    splits: dict[str, list[list[str]]] = json.loads((folder / "data_full.json").read_text(encoding="utf-8"))

    def tickets(split: str) -> tuple[Ticket, ...]:
        return tuple(Ticket(text, intent, topic_of[intent]) for text, intent in splits[split])

    return Clinc(tickets("train"), tickets("val"), tickets("test"))
