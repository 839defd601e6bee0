"""Documents written by hand, with the pairs of question and answer that a reader finds in them; and documents without any."""

from __future__ import annotations

INTERVIEW = """The baker of Elm Street
by our own reporter

Interviewer: You have been up since three. Does one get used to it?

Marta Bell: Never. You only get used to being tired.
By six the first customers knock, and then
I am awake.

Interviewer: What do they ask for?

Marta Bell: Rye, mostly. Some ask for the recipe.

It is my grandmother's, and she made me promise to keep it.

Interviewer: And do you?

Marta Bell: Yes. So far.

The shop is open from six to two, except on Mondays.
"""

QUESTIONS = """Frequently asked questions

Q. How do I reset the meter?
A. Hold the green button for five seconds. The display goes blank, and then you see zero.

Q. May I wash the filter?
A. Yes, in cold water.

Q3: Where is the serial number?
A3: On the plate under the lid.
"""

NAMES = """Anna: Have you seen my keys?
Ben: They were on the table this morning.
Anna: They are not there now.
Ben: Then look in your coat.
Anna: You are right, here they are!
Ben: I always am.
"""

CHAT_LOG = """[10:31:02] Lena: hi, are you there?
[10:31:40] Tom: yes, just came in
[10:32:01] Lena: did you get the tickets
[10:32:15] Tom: I did, two of them, row five
[10:33:09] Lena: great, what do I owe you
[10:33:30] Tom: nothing, you paid last time
"""

MARKDOWN = """# A talk about bees

**Host:** Why do bees dance?

**Dr. Okoye:** To tell the others where the flowers are.

**Host:** How far can they point?

**Dr. Okoye:** Some kilometres, if the wind is kind.
"""

DASHES = """Mr Hale – You say you never met him?
Mrs Crane – I said that I did not know him. That is not the same.
Mr Hale – Where did you meet?
Mrs Crane – On the boat.
Mr Hale – Did he speak to you?
Mrs Crane – He asked me for the time.
"""

SCREENPLAY = """INT. KITCHEN - NIGHT

                    RUTH
          You kept the letter. Why?

                    SAMUEL
          I thought you would want it
          one day.

Ruth puts the kettle down.

                    RUTH
          And today is that day?

                    SAMUEL (quietly)
          If you want it to be.

                    RUTH
          Give it to me.

                    SAMUEL
          You will not like what it says.
"""

PLAY = """PORTER. Who knocks so late?
STRANGER. A friend, if you have bread.
PORTER. We have bread and no friends.
STRANGER. Then you will have one.
PORTER. What is your name?
STRANGER. I left it at the last house.
"""

HEARING = """MS. LOPEZ:
When did you first see the leak?
MR. GRANT:
On the Tuesday. I wrote it down.
MS. LOPEZ:
Whom did you tell?
MR. GRANT:
My supervisor, and then nobody.
MS. LOPEZ:
Why nobody?
MR. GRANT:
Because he told me to wait.
"""

CHINESE = """问：这本书什么时候出版？
答：明年春天，我们正在校对。
问：会有英文版吗？
答：会的，已经有出版社联系我们了。
"""

POSITIVES: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "interview": (
        INTERVIEW,
        [
            (
                "You have been up since three. Does one get used to it?",
                "Never. You only get used to being tired. By six the first customers knock, and then I am awake.",
            ),
            (
                "What do they ask for?",
                "Rye, mostly. Some ask for the recipe. It is my grandmother's, and she made me promise to keep it.",
            ),
            ("And do you?", "Yes. So far."),
        ],
    ),
    "questions": (
        QUESTIONS,
        [
            (
                "How do I reset the meter?",
                "Hold the green button for five seconds. The display goes blank, and then you see zero.",
            ),
            ("May I wash the filter?", "Yes, in cold water."),
            ("Where is the serial number?", "On the plate under the lid."),
        ],
    ),
    "names": (
        NAMES,
        [
            ("Have you seen my keys?", "They were on the table this morning."),
            ("They are not there now.", "Then look in your coat."),
            ("You are right, here they are!", "I always am."),
        ],
    ),
    "chat log": (
        CHAT_LOG,
        [
            ("hi, are you there?", "yes, just came in"),
            ("did you get the tickets", "I did, two of them, row five"),
            ("great, what do I owe you", "nothing, you paid last time"),
        ],
    ),
    "markdown": (
        MARKDOWN,
        [
            ("Why do bees dance?", "To tell the others where the flowers are."),
            ("How far can they point?", "Some kilometres, if the wind is kind."),
        ],
    ),
    "dashes": (
        DASHES,
        [
            ("You say you never met him?", "I said that I did not know him. That is not the same."),
            ("Where did you meet?", "On the boat."),
            ("Did he speak to you?", "He asked me for the time."),
        ],
    ),
    "screenplay": (
        SCREENPLAY,
        [
            ("You kept the letter. Why?", "I thought you would want it one day."),
            ("And today is that day?", "If you want it to be."),
            ("Give it to me.", "You will not like what it says."),
        ],
    ),
    "play": (
        PLAY,
        [
            ("Who knocks so late?", "A friend, if you have bread."),
            ("We have bread and no friends.", "Then you will have one."),
            ("What is your name?", "I left it at the last house."),
        ],
    ),
    "hearing": (
        HEARING,
        [
            ("When did you first see the leak?", "On the Tuesday. I wrote it down."),
            ("Whom did you tell?", "My supervisor, and then nobody."),
            ("Why nobody?", "Because he told me to wait."),
        ],
    ),
    "chinese": (
        CHINESE,
        [
            ("这本书什么时候出版？", "明年春天，我们正在校对。"),
            ("会有英文版吗？", "会的，已经有出版社联系我们了。"),
        ],
    ),
}

NEGATIVES = {
    "timetable": "10:30: arrival\n10:45: departure\n11:30: arrival\n11:45: departure\n12:30: arrival\n12:45: departure\n",
    "stops": "".join(f"{h}:30 Paris: arrival\n{h}:50 Lyon: departure\n" for h in range(10, 15)),
    "configuration": "host: db.example.org\nport: 5432\nhost: cache.example.org\nport: 6379\nhost: www\nport: 80\n",
    "records": "".join(f"Name: {n}\nAge: {a}\n\n" for n, a in (("Ada", 36), ("Bo", 41), ("Cy", 12), ("Di", 70))),
    "people": "".join(
        f"Client: {n}\nCarrier: {c}\n" for n, c in (("Ada", "Nord"), ("Bo", "Ost"), ("Cy", "Nord"), ("Di", "Ost"))
    ),
    "code": "if x:\n    return: 1\ntry:\n    y = {'Key': 1, 'Value': 2}\nexcept ValueError:\n    pass\nelse:\n    z = x\n"
    + "class Foo:\n    Bar: int = 1\n    Baz: str = ''\n",
    "switch": "switch (x) {\n" + "Case: doThis();\nDefault: doThat();\n" * 4 + "}\n",
    "links": "See:\nhttps://example.org/a\nhttps://example.org/b\nHttp: //example.org\nFtp: //example.org\n" * 3,
    "bibliography": "Smith, J. (2001): On rivers. Northern Press.\nJones, K. (2004): On lakes. Southern Press.\n"
    "Smith, J. (2006): On seas. Northern Press.\nJones, K. (2010): On ice. Southern Press.\n" * 2,
    "books": "Smith: On Rivers. Northern Press.\nJones: On Lakes. Southern Press.\nBaker: On Seas.\nMiller: On Ice.\n"
    * 1,
    "recipe": "Ingredients: flour, water, salt.\nMethod: Mix and wait.\nIngredients: rye, water.\nMethod: Mix and bake.\n"
    "Step 1: Mix the flour.\nStep 2: Bake for an hour.\nTip: Use a heavy pot.\nStep 3: Let it cool.\nTip: Cover with a cloth.\n",
    "dough": "Dough: Mix the flour and the salt.\nFilling: Chop the nuts.\n" * 3,
    "verses": "Genesis 1:1 In the beginning was the word.\nGenesis 1:2 And it was dark.\nJohn 3:16: For so it was.\n"
    "John 3:17: And so it was not.\n1:1 Then they went.\n1:2 And you came to us.\n" * 2,
    "phrase book": "English: How are you?\nFrench: Comment allez-vous ?\nEnglish: Thank you!\nFrench: Merci !\n"
    "English: Where are you?\nFrench: Où êtes-vous ?\n",
    "choices": "Q1. What is the capital of France?\nA. Paris\nB. London\nC. Rome\n\nQ2. What do you call a young dog?\nA. Kid\n"
    "B. Puppy\nC. Foal\n",
    "prose": "He said: I do not know. She answered: You do.\n\nNote: this is all. Remember: you were there.\n\nThe end.\n",
    "headings": "INTRODUCTION\nWe describe the method.\n\nMETHODS\nWe measured twice.\n\nRESULTS\nYou see them below.\n",
    "letters": "A. First we talk about rivers.\nB. Then about lakes.\nC. Last about you and me.\n",
    "scores": "Home: 2\nAway: 1\nHome: 0\nAway: 3\nHome: 1\nAway: 1\n",
    "one voice": "Captain: We sail at dawn.\nCaptain: You will all be there.\nCaptain: I count on you.\n" * 3,
    "lyrics": "Verse: I walk alone, you know.\nChorus: And you, and you, and me.\n" * 4,
    "log": "Info: server started.\nWarning: your disk is nearly full.\nInfo: you are connected.\nWarning: we retry.\n"
    * 2,
}
