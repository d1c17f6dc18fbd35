-- What is too old is found without these: events in the order of their positions, ids of platforms by reading a part of their
-- table now and then. A BRIN index keeps the least time that a range of blocks ever had: once deleted space is used again,
-- every range seems old, and the whole table is read each time.
DROP INDEX events_by_age;
DROP INDEX provider_messages_by_age;
