#![no_main]

nomopoly_fuzz::target!(lock);
