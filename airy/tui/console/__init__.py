"""The console: a terminal application over the HTTP API and its events.

app.py         the application: views by key, themes, palette, frames
navigation.py  the views, as a table
view.py        what every view has in common: tabs, filter, reload, status line
session.py     one instance and one token: calls and the feed of events
event_feed.py  follows `/events` and resumes by position
<view>/        one folder per view: screen.py has widgets and keys, the modules beside it are pure
"""
