"""Measuring: pictures of figures (`chart`), for reports and for whoever tunes a task of their own."""
