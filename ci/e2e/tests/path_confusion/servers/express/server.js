// Express with its defaults: routes ignore case and a trailing slash, and are matched before escapes are decoded.
const express = require('express');

const app = express();

function handler(name) {
  return (request, response) => {
    response.type('text').send(`${name} ${request.baseUrl}${request.path}\n`);
  };
}

app.use((request, response, next) => {
  if (request.hostname === 'admin.example.com') {
    handler('admin')(request, response);
  } else {
    next();
  }
});
app.use('/admin', handler('admin'));
app.all('/keys', handler('admin'));
app.post('/orders', handler('admin'));
app.use('/public', handler('public'));
app.use(handler('fallback'));

app.listen('socket');
