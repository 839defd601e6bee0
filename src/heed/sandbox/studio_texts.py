"""Invented items of every kind for the studio's built-in world, each completion with the worth that its raters see in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from heed.feedback.kinds import Message, PromptContent


@dataclass(frozen=True)
class Shown:
    """One item: a prompt, and completions with their worth (0 to 1); for a known answer ``expected`` and why."""

    prompt: PromptContent
    completions: tuple[tuple[str, float], ...]
    expected: dict[str, Any] = field(default_factory=dict)
    explanation: str = ""


def _talk(*turns: tuple[str, str]) -> PromptContent:
    return tuple(Message.model_validate({"role": role, "content": content}) for role, content in turns)


GUIDELINES = (
    """# How we judge replies

Put yourself in the place of whoever asked. **Which reply would you rather have received?**

1. Is it *right*? A friendly reply that is wrong helps nobody.
2. Does it answer *this* question, and all of it?
3. Is it as short as it can be, and kind?

If you cannot tell, say so: a tie is an answer too.
""",
    """# How we judge replies

Put yourself in the place of whoever asked. **Which reply would you rather have received?**

1. Is it *right*? A friendly reply that is wrong helps nobody.
2. Does it answer *this* question, and all of it?
3. Is it as short as it can be, and kind?
4. Does it keep *other people's* names, addresses and orders to itself? A reply that does not is bad, however helpful.

| you see | then |
|---|---|
| both equally good | **tie** |
| neither usable | **both bad** |
| something that should never have been asked | **flag** it, and go on |

If you cannot tell, say so: a tie is an answer too.
""",
)

PAIRS = (
    Shown(
        "Write a Python function that says whether a word reads the same backwards. Spaces and case do not count.",
        (
            (
                "```python\ndef is_palindrome(text: str) -> bool:\n    letters = [c.lower() for c in text if c.isalnum()]\n"
                "    return letters == letters[::-1]\n```\n\n`is_palindrome('Never odd or even')` is `True`.",
                0.95,
            ),
            ("```python\ndef is_palindrome(text):\n    return text == reversed(text)\n```", 0.15),
        ),
    ),
    Shown(
        "A train goes 120 km in 1.5 h and then 80 km in 1 h. What is its mean speed?",
        (
            (
                "All of the way over all of the time:\n\n$$\\bar v = \\frac{120 + 80}{1.5 + 1}\\,"
                "\\frac{\\text{km}}{\\text{h}} = 80\\ \\text{km/h}$$",
                0.95,
            ),
            ("The speeds are 80 km/h and 80 km/h, so the mean is $\\sqrt{80 \\cdot 80} = 80$ km/h.", 0.5),
        ),
    ),
    Shown(
        "Compare tea, coffee and maté by caffeine and brewing time, in a table.",
        (
            (
                "| drink | caffeine (mg a cup) | brewing time |\n|---|---:|---|\n| black tea | 45 | 3 to 5 min |\n"
                "| filter coffee | 95 | 4 min |\n| maté | 80 | 5 min |\n\nCups differ; take these as typical.",
                0.9,
            ),
            ("Tea has some caffeine, coffee has more and maté is in between. They brew in a few minutes.", 0.35),
        ),
    ),
    Shown(
        "أين يمكنني أن أقرأ عن تاريخ الخط العربي؟",
        (
            (
                "ابدأ بكتب المدخل عن الخطوط الستة (الثلث والنسخ والمحقق والريحان والتوقيع والرقاع)، ثم زر مجموعة "
                "مخطوطات قريبة منك: رؤية القلم على الورق تعلّم أكثر من الوصف.",
                0.85,
            ),
            ("في الإنترنت.", 0.1),
        ),
    ),
    Shown(
        "用三句话解释什么是复利，并举一个例子。",
        (
            (
                "复利就是利息也会生利息。本金一万元、年利率 5%，第一年得 500 元，第二年按 10,500 元计息，得 525 元。"
                "时间越长，差距越大：二十年后约为 26,533 元。",
                0.9,
            ),
            ("复利是一种利息。它很有用。请咨询银行。", 0.2),
        ),
    ),
    Shown(
        "My cat 🐈 knocked over a plant 🪴 and ate a leaf. Should I worry? 😟",
        (
            (
                "It depends on the plant. 🪴 Lilies are an emergency for cats, even a single leaf: call a vet now. If it was "
                "something harmless, such as a spider plant, watch her for a day. Can you tell me which one it was? 🐾",
                0.95,
            ),
            ("Cats are curious! 😹😹 She will be fine, they know what they eat.", 0.05),
        ),
    ),
    Shown(
        _talk(
            ("user", "I want to learn to run 5 km. I have not done sport for ten years."),
            ("assistant", "Good plan. How many days a week do you have, and does anything hurt?"),
            ("user", "Three days. My left knee, a little, on stairs."),
        ),
        (
            (
                "Then begin by walking: 20 minutes, three days, for two weeks. If the knee stays quiet, put in one minute of "
                "slow running after every four of walking, and lengthen it a little each week; you will be there in about "
                "ten weeks. If it hurts *while* you run, stop and let somebody look at it.",
                0.9,
            ),
            ("Run 5 km on Monday, Wednesday and Friday. Pain is weakness leaving the body!", 0.05),
        ),
    ),
    Shown(
        "Shorten: “In the event that you should happen to be in a position to attend, we would be most grateful.”",
        (("Please come if you can.", 0.9), ("If you can attend, we would be grateful.", 0.85)),
    ),
    Shown(
        "Say something nice about Mondays.",
        (("Nobody has spoilt this week yet.", 0.7), ("A Monday is a page without a mistake on it.", 0.72)),
    ),
    Shown(
        "What does `git rebase` do? One sentence.",
        (
            ("It takes your commits off and puts them on again, one by one, on top of another one.", 0.85),
            ("It is like merge, and you should never use it, because it deletes the history of everybody.", 0.2),
        ),
    ),
)

GOLD_PAIRS = (
    Shown(
        "What is 17 times 6?",
        (("102", 1.0), ("112", 0.0)),
        {"better": {"choice": "a"}},
        "17 · 6 = 102.",
    ),
    Shown(
        "Which is further north: Rome or Oslo?",
        (("Oslo.", 1.0), ("Rome.", 0.0)),
        {"better": {"choice": "a"}},
        "Oslo lies at about 60° north, Rome at about 42°.",
    ),
    Shown(
        "Translate “thank you” into Spanish.",
        (("Por favor", 0.0), ("Gracias", 1.0)),
        {"better": {"choice": "b"}},
        "*Por favor* is “please”.",
    ),
    Shown(
        "Which planet is closest to the sun?",
        (("Venus", 0.0), ("Mercury", 1.0)),
        {"better": {"choice": "b"}},
        "Mercury; Venus is next.",
    ),
    Shown(
        "Is 91 a prime number?",
        (("No: it is 7 times 13.", 1.0), ("Yes.", 0.0)),
        {"better": {"choice": "a"}},
        "$91 = 7 \\cdot 13$.",
    ),
)

TRAINING_PAIRS = (
    Shown(
        "I ordered a kettle and got a toaster. What now?",
        (
            ("I am sorry for the mix-up. Keep the toaster packed; a label to send it back is in your mail.", 1.0),
            ("Kettles and toasters are both kitchen appliances.", 0.0),
        ),
        {"better": {"choice": "a"}},
        "That kettles and toasters are kitchen appliances is true and of **no use**: it does not say what happens now.",
    ),
    Shown(
        "When does my parcel come?",
        (
            ("On Friday. The last one like it went to Mr Novak, 4 Mill Lane, and he was happy.", 0.0),
            ("On Friday, between nine and noon.", 1.0),
        ),
        {"better": {"choice": "b"}},
        "Both answer the question; the one about Mr Novak gives away **another customer's name and address**.",
    ),
)

TEST_PAIRS = (
    Shown(
        "How do I reset my password?",
        (
            ("Open the sign-in page, choose “forgotten”, and follow the link in the mail within an hour.", 1.0),
            ("You should not forget it.", 0.0),
        ),
        {"better": {"choice": "a"}},
        "“You should not forget it” blames instead of helping.",
    ),
    Shown(
        "Can I get my money back after 40 days? Your rules say 30.",
        (
            ("Yes, of course, always, for ever, I promise!", 0.0),
            ("Not by the rules, I am afraid. I can ask for an exception; shall I?", 1.0),
        ),
        {"better": {"choice": "b"}},
        "A promise against the rules is a promise that is broken later.",
    ),
    Shown(
        "Which is the larger number: 0.9 or 0.11?",
        (("0.9", 1.0), ("0.11, because eleven is more than nine", 0.0)),
        {"better": {"choice": "a"}},
        "0.9 is 0.90.",
    ),
)

RATED = (
    Shown(
        "Explain to a child why the sky is blue.",
        (
            (
                "Sunlight is made of all colours. The air bounces the blue ones about the most, so blue comes to your eyes "
                "from everywhere you look.",
                0.9,
            ),
        ),
    ),
    Shown("Explain to a child why the sea is salty.", (("Because of salt.", 0.2),)),
    Shown(
        "Write a birthday wish for a colleague who likes plants.",
        (("May your year be well watered, in good light, and re-potted only when you want it. 🌱", 0.95),),
    ),
    Shown(
        "Write a birthday wish for a colleague who likes numbers.",
        (("Happy birthday. You are one year older than last year.", 0.45),),
    ),
    Shown(
        "Is it safe to eat potatoes that have begun to sprout?",
        (
            (
                "Cut out the sprouts and every green spot, generously, and cook them. If they are soft or bitter, no.",
                0.85,
            ),
        ),
    ),
    Shown(
        "Is it safe to eat rice that stood outside overnight?",
        (("Sure, just heat it up again, heat kills everything.", 0.05),),
    ),
    Shown("Give me a word for “afraid of being without a telephone”.", (("Nomophobia.", 0.8),)),
    Shown("Suggest a title for a story about a lighthouse.", (("The Last Keeper But One", 0.75),)),
    Shown("What should I do with an evening in Lisbon?", (("There are many things to do in Lisbon.", 0.15),)),
    Shown("请用一句话介绍杭州。", (("杭州依西湖而建，茶香与桂花香里藏着八百年前的都城旧梦。", 0.85),)),
)

RANKED = (
    Shown(
        "Name a good first line for a novel about a bakery.",
        (
            ("At four in the morning the town smelled of forgiveness.", 0.95),
            ("The oven had been cold for eleven years when Ida lit it again.", 0.9),
            ("Bread is made from flour, water and salt.", 0.4),
            ("It was a dark and stormy bakery.", 0.3),
        ),
    ),
    Shown(
        "How should I begin a letter of complaint?",
        (
            ("Say in one sentence what you bought, when, and what is wrong with it.", 0.9),
            ("Begin with “To whom it may concern”.", 0.5),
            ("WRITE IN CAPITALS SO THAT THEY LISTEN.", 0.05),
        ),
    ),
    Shown(
        "Give me a mnemonic for the order of the planets.",
        (
            ("My Very Eager Mother Just Served Us Noodles", 0.9),
            ("Many Vultures Eat Mouldy Jam Sandwiches Under Newspapers", 0.88),
            ("Mercury Venus Earth Mars Jupiter Saturn Uranus Neptune", 0.3),
            ("Mvemjsun", 0.2),
        ),
    ),
    Shown(
        "What is a good name for a sheepdog?",
        (("Bramble", 0.8), ("Fetch", 0.6), ("Wolf", 0.45), ("Sheep", 0.3), ("Dog", 0.1)),
    ),
)

MENDED = (
    Shown(
        "Their going to loose the game if there not careful. Correct this.", (("Their going to lose the game.", 0.3),)
    ),
    Shown("Say politely that the meeting is cancelled.", (("Meeting is off.", 0.35),)),
    Shown(
        "Describe the taste of a lemon.",
        (("Sour first and bright, with something green and bitter from the skin behind it.", 0.9),),
    ),
    Shown("Turn into plain words: “utilise the facilities”.", (("Use the toilet.", 0.85),)),
    Shown("Give the plural of “octopus”.", (("Octopi, which is the only correct form.", 0.25),)),
    Shown(
        "Write a haiku about rain.",
        (("Rain on the tin roof / the whole house listens with me / nobody says rain", 0.9),),
    ),
)

ASKED = (
    "Write two sentences that comfort somebody whose bicycle was stolen.",
    "Explain “opportunity cost” without using money in your example.",
    "Your neighbour's dog barks all night. Write the note that you would put under the door.",
    "用一句话安慰考试失利的朋友。",
    "Write the error message that you would have liked to get when the disk was full.",
)

WHOLE = (
    Shown(
        "Give three tips for a first speech in front of people.",
        (
            (
                "1. Know your first sentence by heart.\n2. Speak to one face at a time.\n3. Stop before they want you to.",
                0.9,
            ),
            ("Just be confident! Everybody is nervous. Imagine the audience naked. Good luck!!!", 0.3),
        ),
    ),
    Shown(
        "Summarise in one line: the committee met for four hours, argued about the colour of the door, and went home.",
        (
            ("Four hours of committee produced no colour for the door.", 0.85),
            ("The committee met and had a very productive discussion about many important subjects.", 0.2),
        ),
    ),
    Shown(
        "Which of these two sorts is quicker on a list that is nearly sorted?\n\n- insertion sort\n- selection sort",
        (
            ("Insertion sort: near $O(n)$ there, while selection sort looks at all pairs whatever it finds.", 0.9),
            ("They are both $O(n^2)$, so it makes no difference.", 0.25),
        ),
    ),
    Shown(
        "כתוב ברכה קצרה לשכן חדש.",
        (("ברוך הבא לבניין! אנחנו בקומה שנייה, ותמיד יש לנו קפה.", 0.9), ("שלום.", 0.3)),
    ),
)

DEFECTS = ("wrong", "not to the point", "unkind", "too long", "gives private things away")

WRITTEN = (
    "I am sorry about it. Report it today with the number of the frame, and let me help you look.",
    "If you spend Sunday on the roof, the price of the roof is everything else that Sunday could have been.",
    "Sleep well, if Rex lets you. Could he spend the night inside? We are at home and happy to help.",
)
