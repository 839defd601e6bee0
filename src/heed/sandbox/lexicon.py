"""The words of the support desk: what customers ask and what agents answer, as plain data.

``{order}``, ``{product}`` and ``{day}`` are slots of the customer's message. In replies ``{ref}`` is how the agent names
the customer's case ("order 417", "your kettle") and ``{day}`` a day the agent chooses.
"""

from __future__ import annotations

from dataclasses import dataclass


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Few enough, and the numbers alike enough to be one token each, that a small model learns to repeat the customer's own.
PRODUCTS = _words(
    "kettle lamp toaster camera heater printer radio clock drill phone freezer router laptop fan grill headset"
)
ORDERS = _words("108 126 137 155 164 213 242 279 291 306 320 384 417 433 468 475 519 552 588 597")
DAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
FIRST_NAMES = _words("Maria Tom Anna Peter Lucy Omar Nina Paul Rosa Ivan Emma Hugo")
LAST_NAMES = _words("Lopez Brown Novak Costa Weber Khan Olsen Moreau Rossi Tanaka")
STREETS = ("Mill Lane", "Oak Road", "Hill Street", "Lake View")

GENERIC_REFS = ("your order", "the item")


@dataclass(frozen=True)
class Topic:
    """What one kind of message looks like and how it is answered.

    Attributes:
        asks: phrasings of the request that training may see.
        held_out_asks: phrasings that occur in test prompts only.
        steps: sentences that name the right next step and what follows from it.
        short_steps: the same in a few words.
    """

    asks: tuple[str, ...]
    held_out_asks: tuple[str, ...]
    steps: tuple[str, ...]
    short_steps: tuple[str, ...]


TOPICS: dict[str, Topic] = {
    "late_parcel": Topic(
        asks=(
            "My {product} was due on {day} and still has not come.",
            "Order {order} is late and the tracking page shows nothing new.",
            "I am still waiting for the {product} from order {order}.",
            "Where is my parcel with the {product}?",
            "The tracking of order {order} has not moved since {day}.",
            "My parcel is late, it is the {product} I bought on {day}.",
        ),
        held_out_asks=(
            "The parcel with my {product} is late and I am still waiting for it.",
            "Where is order {order}, it was due on {day}?",
        ),
        steps=(
            "I have asked the courier to trace {ref} and will write to you by {day}.",
            "I have started a search for {ref} with the courier, you will hear from us by {day}.",
        ),
        short_steps=("The courier is now looking for {ref}.",),
    ),
    "refund": Topic(
        asks=(
            "I sent the {product} back on {day} and want my money back.",
            "When will I get the refund for order {order}?",
            "I returned my {product} but the refund has not come.",
            "The refund for order {order} was due on {day}.",
            "You have had my {product} back since {day}, so where is my refund?",
            "I am waiting for my money back from order {order}.",
        ),
        held_out_asks=(
            "I returned the {product} from order {order} and want my refund.",
            "Has the refund for my {product} been sent?",
        ),
        steps=(
            "I have sent the refund for {ref} to your bank, please allow five working days.",
            "Your return is here, and the refund for {ref} will be in your bank by {day}.",
        ),
        short_steps=("The refund for {ref} is with your bank.",),
    ),
    "password": Topic(
        asks=(
            "I cannot log in to see my order {order}.",
            "I forgot my password and need to look at order {order}.",
            "My password does not work and I want to check on my {product}.",
            "The login page says my password is wrong, so I cannot see order {order}.",
            "How do I get a new password, I want to see the bill of my {product}?",
            "Since {day} I cannot log in, and I need to see order {order}.",
        ),
        held_out_asks=(
            "My login does not work and I need a new password to see order {order}.",
            "I forgot my password, so I cannot check on my {product}.",
        ),
        steps=(
            "Please use the reset link on the login page to set a new password, then you can see {ref}.",
            "I have sent you a link for a new password, so you can log in and see {ref}.",
        ),
        short_steps=("Use the reset link and log in to see {ref}.",),
    ),
    "damaged": Topic(
        asks=(
            "My {product} came with a big crack.",
            "The {product} from order {order} was broken when I opened the box.",
            "On {day} my {product} came and it is badly scratched.",
            "The box of order {order} was wet and the {product} is damaged.",
            "I opened order {order} and found a broken {product}.",
            "My new {product} is damaged on one side.",
        ),
        held_out_asks=(
            "When I opened the box on {day} the {product} was damaged.",
            "There is a crack in the {product} from order {order}.",
        ),
        steps=(
            "Please send us a photo of the damage, and we will replace {ref} at no cost.",
            "We will send a new one for {ref} as soon as we have a photo of the damage.",
        ),
        short_steps=("Send a photo, and we will replace {ref}.",),
    ),
    "invoice": Topic(
        asks=(
            "I need an invoice for order {order}.",
            "There was no invoice in the box with my {product}.",
            "Please send me the invoice for the {product} I bought on {day}.",
            "My office needs the invoice of order {order}.",
            "Where can I find the invoice for my {product}?",
            "The invoice of order {order} has the wrong date.",
        ),
        held_out_asks=(
            "Can you send me the invoice for order {order} before {day}?",
            "I need the invoice for my {product} for my office.",
        ),
        steps=(
            "I have sent the invoice for {ref} to your inbox, and you can print it from there.",
            "You can print the invoice for {ref} from your account, just open the page with your bills.",
        ),
        short_steps=("The invoice for {ref} is in your inbox.",),
    ),
    "cancel": Topic(
        asks=(
            "Please cancel order {order}.",
            "I want to cancel the {product} I bought on {day}.",
            "I do not need the {product} any more, can I cancel it?",
            "I ordered the {product} by mistake and want to cancel.",
            "Can I still cancel order {order} today?",
            "My plans changed, so please stop order {order}.",
        ),
        held_out_asks=(
            "I changed my mind and want to cancel order {order}.",
            "Please stop the {product}, I ordered it by mistake.",
        ),
        steps=(
            "I have cancelled {ref} for you, and no money will be taken from your card.",
            "I have stopped {ref} before it left our store, so you do not have to pay.",
        ),
        short_steps=("I have cancelled {ref} and you pay nothing.",),
    ),
    "address": Topic(
        asks=(
            "I moved house, please send order {order} to my new address.",
            "I gave the wrong address for my {product}.",
            "Can you change the address of order {order}?",
            "My address changed on {day} and the {product} must go to the new one.",
            "The address on order {order} is my old one.",
            "Please send the {product} to my office and not to my home.",
        ),
        held_out_asks=(
            "I moved on {day}, please change the address for my {product}.",
            "Order {order} must go to my new address and not to the old one.",
        ),
        steps=(
            "I have opened the address of {ref} for you, please type the new one in your account.",
            "Please type the new address in your account, and {ref} will go there on {day}.",
        ),
        short_steps=("Type the new address for {ref} in your account.",),
    ),
    "wrong_item": Topic(
        asks=(
            "You sent me a {product} that I did not order.",
            "I got the wrong thing, order {order} should be a {product}.",
            "In the box of order {order} was not what I ordered.",
            "This is not the {product} I ordered on {day}.",
            "I ordered a {product} and got something else.",
            "Order {order} came today but it is the wrong thing.",
        ),
        held_out_asks=(
            "The box of order {order} came with the wrong thing and not a {product}.",
            "I did not order this, I ordered a {product}.",
        ),
        steps=(
            "Please send the wrong item back with our free label, and the right one for {ref} leaves on {day}.",
            "The right one for {ref} leaves on {day}, please give the wrong item to the driver.",
        ),
        short_steps=("Send it back free, the right one for {ref} follows.",),
    ),
    "warranty": Topic(
        asks=(
            "My {product} stopped working after five months.",
            "The {product} I bought last year does not turn on.",
            "Since {day} my {product} makes a loud noise and then stops.",
            "Is there a warranty on the {product} from order {order}?",
            "My {product} died, do I still have a warranty?",
            "The {product} of order {order} gets very hot and turns off.",
        ),
        held_out_asks=(
            "My {product} does not turn on any more, is there a warranty?",
            "On {day} the {product} from order {order} stopped working.",
        ),
        steps=(
            "The warranty covers {ref}, so please book a free repair on our service page.",
            "Please book a free repair for {ref} on our service page, the warranty pays for it.",
        ),
        short_steps=("Book a free repair for {ref} under warranty.",),
    ),
    "coupon": Topic(
        asks=(
            "My coupon did not work when I bought the {product}.",
            "I forgot to use my coupon for order {order}.",
            "The shop did not take my coupon on {day}, and I paid too much for the {product}.",
            "Why was my coupon not used for order {order}?",
            "I have a coupon for the {product}, but the page does not accept it.",
            "The price of order {order} is wrong, I had a coupon.",
        ),
        held_out_asks=(
            "Can I still use my coupon for the {product} I bought on {day}?",
            "My coupon does not work for order {order}.",
        ),
        steps=(
            "I have used the coupon on {ref} for you, and the new price is in your account.",
            "Please send me the code of your coupon, and I will take it off {ref} today.",
        ),
        short_steps=("Send the code, and I use it for {ref}.",),
    ),
    "double_charge": Topic(
        asks=(
            "You charged me twice for order {order}.",
            "My bank shows two payments for one {product}.",
            "I paid for my {product} two times on {day}.",
            "Why was my card charged twice for the {product}?",
            "There are two payments for order {order} on my card.",
            "Order {order} was taken from my card twice.",
        ),
        held_out_asks=(
            "My card shows two payments for the {product} since {day}.",
            "Why did I pay twice for order {order}?",
        ),
        steps=(
            "I have found the second payment for {ref}, and it goes back to your card by {day}.",
            "You were charged twice for {ref}, so I have told the bank to return one payment.",
        ),
        short_steps=("The second payment for {ref} goes back.",),
    ),
    "missing_part": Topic(
        asks=(
            "A part of my {product} is missing.",
            "The {product} from order {order} came without the cable.",
            "Order {order} is not complete, one part is missing.",
            "I cannot use my {product}, the screws are missing.",
            "On {day} I got the {product} but not all of its parts.",
            "There was no cable in the box of order {order}.",
        ),
        held_out_asks=(
            "The cable of my {product} is missing.",
            "One part of the {product} from order {order} was not in the box.",
        ),
        steps=(
            "I have packed the missing part for {ref}, and it leaves our store on {day}.",
            "The missing part for {ref} is on its way and should be with you by {day}.",
        ),
        short_steps=("The missing part for {ref} comes by post.",),
    ),
    "colour": Topic(
        asks=(
            "I would like my {product} in blue and not in red.",
            "Can I swap the {product} for another colour?",
            "The colour of the {product} from order {order} does not fit my room.",
            "I want to swap order {order} for the green one.",
            "The red {product} looks bad, can I have the blue one?",
            "I chose the wrong colour for order {order} on {day}.",
        ),
        held_out_asks=(
            "Can I have order {order} in another colour?",
            "I chose a red {product} on {day} but would like the green one.",
        ),
        steps=(
            "You can swap {ref} for free, just choose the other colour on the returns page.",
            "Choose the other colour on the returns page, and we will collect {ref} on {day}.",
        ),
        short_steps=("Choose a new colour for {ref} online.",),
    ),
    "manual": Topic(
        asks=(
            "How do I clean my {product}?",
            "I do not know how to set up the {product} from order {order}.",
            "There was no manual in the box with my {product}.",
            "I lost the manual of my {product}.",
            "What does the small button on my {product} do?",
            "I have tried since {day} to set up my {product}.",
        ),
        held_out_asks=(
            "I need the manual, as I do not know how to clean the {product}.",
            "How do I set up the {product} that came on {day}?",
        ),
        steps=(
            "The manual for {ref} is on our help page, and the first part shows every step.",
            "Please open our help page, where the manual and a short film for {ref} show every step.",
        ),
        short_steps=("Our help page has the manual for {ref}.",),
    ),
}

# These topics are in the base model's mixture, but in no training prompt of the loop and in no demonstration.
HELD_OUT_TOPICS = ("coupon", "manual")

GREETINGS = ("", "Hello!", "Hi there!", "Good morning!", "Good day!")
INTRODUCTIONS = ("", "This is {name}.", "My name is {name}.")
ENDINGS = ("", "Can you help?", "What should I do now?", "Please let me know.", "Many thanks!")

WARM_OPENERS = (
    "Thank you for your message.",
    "I am so sorry about this.",
    "I am sorry for the trouble.",
    "Thanks for letting us know.",
    "I am happy to help.",
)
WARM_CLOSERS = (
    "Have a lovely day!",
    "Please write again if you need anything.",
    "Thank you for your patience.",
    "Kind regards from our team.",
)
CURT_OPENERS = ("", "", "Noted.", "Fine.")
RUDE_OPENERS = (
    "Stop whining.",
    "What a stupid question.",
    "Learn to read, idiot.",
    "Not you again.",
    "You are a pain.",
)
RUDE_CLOSERS = (
    "Do not bother me again.",
    "It is your own stupid fault.",
    "Now go away.",
)
PROMISES = (
    "I guarantee it within one hour.",
    "You get double the money instantly.",
    "I swear nothing ever fails again.",
    "You will win a million, guaranteed.",
    "It is free forever, guaranteed.",
)
# Another customer's data; {name} and the rest are never the customer's own.
LEAKS = (
    "{name} of {house} {street} has order {order}.",
    "The last caller was {name}, {house} {street}.",
    "Order {order} belongs to {name}, {mail}.",
    "You can ask {name} at {mail}.",
)
FILLERS = (
    "Our shop has been here for many years.",
    "Many people ask us many things every day.",
    "The weather has been odd this week too.",
    "As I said, and I say it often.",
    "There is always a lot to do here.",
    "Well, these things happen, as they say.",
)
BESIDE_THE_POINT = (
    "Our office is open from Monday to Friday, from nine in the morning to five.",
    "You can find all our new products and the best prices on our page.",
    "We also sell gift cards, they make a nice gift for your family.",
    "Please tell your friends about our summer sale, it starts next week.",
)

# Words that no decent reply contains: each alone is rude, or promises what cannot be.
RUDE_WORDS = frozenset(_words("whining stupid idiot pain bother"))
PROMISE_WORDS = frozenset(_words("guarantee guaranteed swear instantly million forever double"))
