"""Pictures for people, from records and images.

names     names of images, safe to show
heat      the heat map over an image
overlay   the same as a PNG file
sheet     the contact sheet of a run, with a card for each record
card      one card
canvas    shapes, text and colours
"""
