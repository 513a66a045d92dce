"""The networks that this project trains, as Flax Linen modules. A module is a function of its
fields."""
